/** Whether a file lies in memory, so that reading or writing it never waits for a disk. */
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";

const TMPFS = 0x01021994;
const RAMFS = 0x858458f6;

/**
 * True for tmpfs and ramfs. A read or write of one frame there is a copy of a tenth of a millisecond; handing it to the
 * thread pool and waking up again costs as much as the copy itself.
 */
export async function liesInMemory(path: string): Promise<boolean> {
  const { type } = await statfs(dirname(path));
  return type === TMPFS || type === RAMFS;
}
