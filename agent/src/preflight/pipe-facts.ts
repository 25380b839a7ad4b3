/** How large pipes may be, and whether this process may make larger ones. */
import { readFile } from "node:fs/promises";
import { hasSysResource } from "./capabilities.ts";
import type { PipeFacts } from "./source-facts.ts";

export async function pipeFacts(): Promise<PipeFacts> {
  const [maxSize, mayExceed] = await Promise.all([readFile("/proc/sys/fs/pipe-max-size", "utf8"), hasSysResource()]);
  return { maxSizeBytes: Number(maxSize.trim()), mayExceed };
}
