/** Adds the memory of a process to a batch: as the last round has it where that needs no look, otherwise as it is read. */
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import type { PageBatch } from "./page-batch.ts";
import type { PageSet } from "./page-set.ts";

export interface MemorySource {
  /** Fills the space with the memory from this address on, and returns how many bytes it could, whole pages. */
  read(vaddr: number, space: Buffer): number;
  /** What was written to since the last round; null if that is not known. */
  readonly written: PageSet | null;
  /** A restore may leave them out and have them brought later. */
  readonly isLazy?: boolean;
}

interface Added {
  readonly pages: number;
  /** The next page could not be read. */
  readonly isCut: boolean;
}

/** Adds what comes first of these pages, at least one, unless the batch is full or none can be read. */
export function addPages(batch: PageBatch, vaddr: number, pages: number, source: MemorySource): Added {
  const { written, isLazy = false } = source;
  const next = batch.next(vaddr, pages, written);
  if (next.isSame) {
    batch.addSame(vaddr, next.pages, { isLazy });
    return { pages: next.pages, isCut: false };
  }
  const space = batch.space(vaddr, next.pages);
  const bytes = source.read(vaddr, space);
  batch.add(vaddr, bytes / PAGE_BYTES, { isLazy });
  return { pages: bytes / PAGE_BYTES, isCut: bytes < space.length };
}
