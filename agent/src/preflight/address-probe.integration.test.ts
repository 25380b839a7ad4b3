/** Neighbours in network namespaces of their own, on a bridge of this host. Needs root, ip and nft. */
import { afterEach, expect, test } from "vitest";
import { runCommand } from "../host/run-command.ts";
import { sweepProbes, whoHas } from "./address-probe.ts";

const BRIDGE = "drprobe0";
const MACS = ["02:00:5e:00:00:01", "02:00:5e:00:00:02"] as const;
const ip = (...args: string[]) => runCommand(["ip", ...args]);

afterEach(async () => {
  for (const index of MACS.keys()) await runCommand(["ip", "netns", "delete", `drprobe${index}`], { okCodes: [0, 1] });
  await runCommand(["ip", "link", "delete", BRIDGE], { okCodes: [0, 1] });
});

/** One neighbour for each of `holders`, with these addresses. */
async function neighbours(...holders: readonly (readonly string[])[]): Promise<void> {
  await ip("link", "add", BRIDGE, "type", "bridge");
  await ip("link", "set", BRIDGE, "up");
  for (const [index, addresses] of holders.entries()) {
    const namespace = `drprobe${index}`;
    await ip("netns", "add", namespace);
    const peer = ["peer", "name", "eth0", "address", MACS[index] ?? "", "netns", namespace];
    await ip("link", "add", `drprobe${index + 1}`, "type", "veth", ...peer);
    await ip("link", "set", `drprobe${index + 1}`, "master", BRIDGE, "up");
    for (const address of addresses) {
      await ip(
        "-netns",
        namespace,
        "address",
        "add",
        address,
        "dev",
        "eth0",
        ...(address.includes(":") ? ["nodad"] : []),
      );
    }
    await ip("-netns", namespace, "link", "set", "eth0", "up");
  }
}

const macsOf = async (address: string) => (await whoHas(address, BRIDGE)).map(({ mac }) => mac).sort();

test("everybody who has the address is heard, and nothing is left", async () => {
  await neighbours(["192.0.2.7/24", "fd00:2::7/64"], ["192.0.2.7/24", "192.0.2.8/24", "fd00:2::7/64"]);
  expect(await macsOf("192.0.2.7")).toEqual([...MACS]);
  expect(await macsOf("192.0.2.8")).toEqual([MACS[1]]);
  expect(await macsOf("fd00:2::7")).toEqual([...MACS]);
  expect((await runCommand(["nft", "list", "tables"])).stdout).not.toContain("drayage_probe");
  expect((await runCommand(["ip", "neigh", "show", "dev", BRIDGE])).stdout).not.toMatch(/192\.0\.2\.|fd00:2::7/);
});

test("nobody answers", async () => {
  await neighbours(["192.0.2.8/24"]);
  expect(await macsOf("192.0.2.7")).toEqual([undefined]);
});

test("what a killed agent left is swept", async () => {
  const tables = async () => (await runCommand(["nft", "list", "tables"])).stdout;
  await runCommand(["nft", "add", "table", "ip6", "drayage_probe_0123456789ab"]);
  expect(await tables()).toContain("drayage_probe");
  await sweepProbes();
  expect(await tables()).not.toContain("drayage_probe");
});

test("an interface that is not there", async () => {
  await expect(whoHas("192.0.2.7", "drprobe9")).rejects.toMatchObject({ reason: "COMMAND_FAILED" });
  expect((await runCommand(["nft", "list", "tables"])).stdout).not.toContain("drayage_probe");
});
