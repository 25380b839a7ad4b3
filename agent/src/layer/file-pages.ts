/** Files of a layer as pages: what is compared, and sent where it differs. */
import { readSync } from "node:fs";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";

/** How many of them are read and compared at a time. */
export const BATCH_PAGES = 128;

export function pageCount(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES);
}

/** Whole pages of a file; what is behind its end is zero. Throws INTERNAL if the file is shorter than it was said to be. */
export function readPages(fd: number, space: Buffer, page: number, count: number, sizeBytes: number): void {
  const start = page * PAGE_BYTES;
  const bytes = Math.min(count * PAGE_BYTES, sizeBytes - start);
  for (let filled = 0; filled < bytes; ) {
    const read = readSync(fd, space, filled, bytes - filled, start + filled);
    if (read === 0) throw new DrayError("INTERNAL", "a file became shorter though its container stands still");
    filled += read;
  }
  space.fill(0, bytes, count * PAGE_BYTES);
}
