/** Tells the segment where a container's addresses are now; see agent/runc/announce.c. */
import { runCommand } from "../host/run-command.ts";

const PROGRAM = "/usr/lib/drayage/drayage-announce";
const LIMIT_MS = 10_000;

export interface AnnouncedEndpoint {
  readonly mac: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

/** A TCP connection whose peer may have sent into the silence. */
export interface WokenConnection {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly expectedSequence: number;
}

/**
 * Announces from within the network namespace of `pid`, where the interfaces
 * are known by their MAC addresses, and wakes the peers of connections.
 */
export async function announce(
  pid: number,
  endpoints: readonly AnnouncedEndpoint[],
  connections: readonly WokenConnection[] = [],
): Promise<void> {
  const lines = connections.map(
    ({ localAddress, localPort, remoteAddress, remotePort, expectedSequence }) =>
      `${localAddress} ${localPort} ${remoteAddress} ${remotePort} ${expectedSequence}\n`,
  );
  for (const { mac, ipv4, ipv6 } of endpoints) {
    const addresses = [ipv4, ipv6].filter((address) => address !== "");
    if (addresses.length === 0) continue;
    const ours = lines.filter((_, index) => addresses.includes(connections[index]?.localAddress ?? ""));
    const argv = [PROGRAM, `/proc/${pid}/ns/net`, mac, ...addresses];
    await runCommand(argv, { deadlineMs: LIMIT_MS, stdin: ours.join("") });
  }
}
