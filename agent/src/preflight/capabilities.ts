/** What this process may do; CRIU, which systemd starts as it has started the agent, may do the same. */
import { readFile } from "node:fs/promises";

const CAP_SYS_RESOURCE = 24n;

/** To go beyond limits of resources, and to read those of other users' processes. */
export async function hasSysResource(): Promise<boolean> {
  return holdsSysResource(await readFile("/proc/self/status", "utf8"));
}

/** By the text of /proc/<pid>/status. Pure. */
export function holdsSysResource(status: string): boolean {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  return ((effective >> CAP_SYS_RESOURCE) & 1n) === 1n;
}
