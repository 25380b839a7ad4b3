import { expect, test } from "vitest";
import { parseLocks } from "./process-facts.ts";
import { countEstablished, parseListeningPorts, parseMptcpSockets, parseUnixSockets } from "./socket-tables.ts";

test("unix sockets as ss prints them", () => {
  const text = `u_dgr ESTAB 0      0                                      * 25573  * 25572
u_str ESTAB 0      0            /run/dbus/system_bus_socket 26866  * 26865 <-> ino:138 dev:0/75
u_str LISTEN 0     4096         @abstract name 17 * 0
u_seq ESTAB 1 0 /run/with space 18 /run/peer 19
`;
  expect(parseUnixSockets(text)).toEqual([
    { kind: "u_dgr", state: "ESTAB", path: "*", inode: 25_573, peerInode: 25_572 },
    { kind: "u_str", state: "ESTAB", path: "/run/dbus/system_bus_socket", inode: 26_866, peerInode: 26_865 },
    { kind: "u_str", state: "LISTEN", path: "@abstract name", inode: 17, peerInode: 0 },
    { kind: "u_seq", state: "ESTAB", path: "/run/with space", inode: 18, peerInode: 19 },
  ]);
});

test("MPTCP sockets as ss prints them", () => {
  expect(parseMptcpSockets("LISTEN 0      4096               *:8080            *:*\n\n")).toEqual([
    { state: "LISTEN", local: "*:8080" },
  ]);
});

test("listening ports as ss prints them", () => {
  const text = `udp   UNCONN 0      0         127.0.0.53%lo:53         0.0.0.0:*
tcp   LISTEN 0      4096            0.0.0.0:22         0.0.0.0:*
tcp   LISTEN 0      4096               [::1]:631            [::]:*
tcp   LISTEN 0      4096                  *:7400              *:*
`;
  expect(parseListeningPorts(text)).toEqual([
    { protocol: "udp", address: "127.0.0.53", port: 53 },
    { protocol: "tcp", address: "*", port: 22 },
    { protocol: "tcp", address: "::1", port: 631 },
    { protocol: "tcp", address: "*", port: 7400 },
  ]);
});

test("established connections, loopback apart", () => {
  const row = (remote: string, state: string) =>
    `   0: 0100007F:0050 ${remote} ${state} 00000000:00000000 00:0 0 0 0 1`;
  const table = [
    "  sl  local_address rem_address   st",
    row("0A4D0001:C000", "01"),
    row("0100007F:C000", "01"),
    row("00000000:0000", "0A"),
    row("0A4D0001:C000", "06"),
    row("00000000000000000000000001000000:C000", "01"),
    row("0000000000000000FFFF00000100007F:C000", "01"),
    row("000077FD000000000000000009000000:C000", "01"),
  ].join("\n");
  expect(countEstablished(table)).toBe(2);
});

test("locks of a descriptor", () => {
  const fdinfo =
    "pos:\t0\nflags:\t0100002\nmnt_id:\t512\nino:\t7\nlock:\t1: FLOCK  ADVISORY  WRITE 522 fe:00:7 0 EOF\n";
  expect(parseLocks(fdinfo, "/data/lock")).toEqual([{ kind: "FLOCK", path: "/data/lock", mountId: 512 }]);
  expect(parseLocks("mnt_id:\t512\n", "/x")).toEqual([]);
});
