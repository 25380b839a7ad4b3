/** Whether a file lies in memory, so that reading or writing it never waits for a disk. */
import { statfsSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";

const TMPFS = 0x01021994;
const RAMFS = 0x858458f6;

/**
 * True where a file of this name would lie in tmpfs or ramfs. A read or write of one frame there is a copy of a tenth of
 * a millisecond; handing it to the thread pool and waking up again costs as much as the copy itself.
 */
export async function liesInMemory(path: string): Promise<boolean> {
  const { type } = await statfs(dirname(path));
  return isMemory(type);
}

/** The same of a file that is open, or to which a link leads; at once: whoever has opened it has waited for its disk. */
export function isInMemory(path: string): boolean {
  return isMemory(statfsSync(path).type);
}

function isMemory(type: number): boolean {
  return type === TMPFS || type === RAMFS;
}
