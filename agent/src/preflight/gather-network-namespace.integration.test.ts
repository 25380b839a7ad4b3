/** A namespace of the real kernel: untouched, and set up from within. */
import { type ChildProcess, spawn } from "node:child_process";
import { afterEach, expect, test } from "vitest";
import { inNetworkNamespace } from "../host/netns.ts";
import { runCommand } from "../host/run-command.ts";
import { readNetworkNamespace } from "./gather-network-namespace.ts";
import { NOTHING_SET_UP } from "./network-namespace.ts";

let holder: ChildProcess | undefined;
afterEach(() => void holder?.kill("SIGKILL"));

/** Pid of a process with a network namespace to itself. */
async function namespace(): Promise<number> {
  holder = spawn("unshare", ["--net", "--", "sh", "-c", "echo ready; exec sleep 60"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((resolve) => holder?.stdout?.once("data", resolve));
  return holder.pid ?? 0;
}

test("a new namespace holds nothing of anybody's", async () => {
  const { interfaces, ...found } = await readNetworkNamespace(await namespace());
  const { interfaces: _, ...nothing } = NOTHING_SET_UP;
  expect(found).toEqual(nothing);
  expect(interfaces.filter(({ up, addresses }) => up || addresses.length > 0)).toEqual([]);
});

test("neighbours, IPsec and sysctls that somebody has set up", async () => {
  const pid = await namespace();
  const commands = [
    "ip link add own0 type veth peer name own1",
    "ip link set own0 up",
    "ip neighbour add 192.0.2.7 lladdr 02:00:00:00:00:07 dev own0 nud permanent",
    "ip xfrm policy add dir out src 192.0.2.0/24 dst 198.51.100.0/24 tmpl proto esp mode transport",
    "tee /proc/sys/net/ipv4/tcp_keepalive_time /proc/sys/net/ipv6/conf/own0/hop_limit",
  ];
  for (const command of commands) await runCommand(inNetworkNamespace(pid, command.split(" ")), { stdin: "61" });
  const { neighbours, ipsec, sysctls, virtualServices } = await readNetworkNamespace(pid);
  expect(neighbours).toEqual([{ address: "192.0.2.7", device: "own0" }]);
  expect(ipsec).toEqual(["src 192.0.2.0/24 dst 198.51.100.0/24"]);
  expect(sysctls).toEqual([{ name: "net.ipv4.tcp_keepalive_time", value: "61", fresh: "7200" }]);
  expect(virtualServices).toEqual([]);
});
