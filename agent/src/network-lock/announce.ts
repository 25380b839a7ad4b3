/** Tells the segment where a container's addresses are now; see agent/runc/announce.c. */
import { readlink } from "node:fs/promises";
import { runCommand } from "../host/run-command.ts";

const PROGRAM = "/usr/lib/drayage/drayage-announce";

export interface AnnouncedEndpoint {
  readonly mac: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

/** Announces from within the network namespace of `pid`; the interface is found by its MAC address. */
export async function announce(
  pid: number,
  endpoints: readonly AnnouncedEndpoint[],
  signal?: AbortSignal,
): Promise<void> {
  const send = await prepareAnnouncement(pid, endpoints, signal);
  await send();
}

/** Finds out all that is needed; what it resolves with sends. */
export async function prepareAnnouncement(
  pid: number,
  endpoints: readonly AnnouncedEndpoint[],
  signal?: AbortSignal,
): Promise<() => Promise<void>> {
  const namespace = `/proc/${pid}/ns/net`;
  await readlink(namespace);
  const interfaces = await interfacesByMac(namespace, signal);
  const commands = endpoints.flatMap(({ mac, ipv4, ipv6 }) => {
    const name = interfaces.get(mac);
    const addresses = [ipv4, ipv6].filter((address) => address !== "");
    return name === undefined || addresses.length === 0 ? [] : [[PROGRAM, namespace, name, ...addresses]];
  });
  return async () => {
    await Promise.all(commands.map((argv) => runCommand(argv, { deadlineMs: 5_000, signal })));
  };
}

async function interfacesByMac(namespace: string, signal: AbortSignal | undefined): Promise<Map<string, string>> {
  const { stdout } = await runCommand(["nsenter", `--net=${namespace}`, "ip", "-json", "link", "show"], {
    deadlineMs: 5_000,
    signal,
  });
  const links = JSON.parse(stdout) as { ifname: string; address?: string }[];
  return new Map(links.flatMap(({ ifname, address }) => (address === undefined ? [] : [[address, ifname]])));
}
