/** How large pipes may be, and whether this process may make larger ones. */
import { readFile } from "node:fs/promises";
import type { PipeFacts } from "./source-facts.ts";

const CAP_SYS_RESOURCE = 24n;

export async function pipeFacts(): Promise<PipeFacts> {
  const [maxSize, status] = await Promise.all([
    readFile("/proc/sys/fs/pipe-max-size", "utf8"),
    readFile("/proc/self/status", "utf8"),
  ]);
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  return { maxSizeBytes: Number(maxSize.trim()), mayExceed: ((effective >> CAP_SYS_RESOURCE) & 1n) === 1n };
}
