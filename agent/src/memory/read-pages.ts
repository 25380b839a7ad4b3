import { readSync } from "node:fs";
import { PAGE_BYTES } from "../memory-image/page-range.ts";

/**
 * Fills `space`, whole pages, with memory of a process or of a shared object, from this place on. Returns the bytes that
 * could be read, whole pages: it ends at what cannot be, which is no failure.
 */
export function readPages(fd: number, position: number, space: Buffer): number {
  let filled = 0;
  while (filled < space.length) {
    try {
      const bytes = readSync(fd, space, filled, space.length - filled, position + filled);
      if (bytes === 0) break;
      filled += bytes;
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      break;
    }
  }
  return filled - (filled % PAGE_BYTES);
}

/** The page went after it was looked for, or nobody may read it: a guard page, memory of a device. */
function isUnreadable(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "EIO" || code === "EFAULT" || code === "ESRCH";
}
