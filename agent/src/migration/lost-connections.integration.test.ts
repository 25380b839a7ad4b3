/** A namespace of the real kernel, in which a connection is opened that leads out of the container. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { afterEach, expect, test } from "vitest";
import { demandNoLostConnections } from "./lost-connections.ts";

/** Listens on the address, and connects to it when it is told so. */
const HOLDER = `
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.socket(family); listener.bind((sys.argv[1], 0)); listener.listen()
print("listens", flush=True); sys.stdin.readline()
client = socket.create_connection(listener.getsockname()[:2]); server, _ = listener.accept()
print("connected", flush=True); sys.stdin.readline()
`;

let holder: ChildProcessByStdio<Writable, Readable, null> | undefined;
afterEach(() => void holder?.kill("SIGKILL"));

test.each(["192.0.2.1", "2001:db8::1"])("to %s, on a bridge network", async (address) => {
  const prefix = address.includes(":") ? "128 nodad" : "32";
  const setUp = `ip link set lo up; ip address add ${address}/${prefix} dev lo; exec python3 -c "$0" ${address}`;
  holder = spawn("unshare", ["--net", "--", "sh", "-c", setUp, HOLDER], { stdio: ["pipe", "pipe", "inherit"] });
  const pid = holder.pid ?? expect.fail();
  await once(holder.stdout, "data");
  await demandNoLostConnections(pid, ["bridge"], "n1");
  holder.stdin.write("connect\n");
  await once(holder.stdout, "data");
  await expect(demandNoLostConnections(pid, ["bridge"], "n1")).rejects.toMatchObject({
    reason: "PREFLIGHT",
    node: "n1",
    message: expect.stringMatching(/has 2 open connections and is on the bridge network bridge,/),
    remedy: expect.stringMatching(/ Or accept it with --allow-connection-loss\.$/),
  });
  await demandNoLostConnections(pid, [], "n1");
});
