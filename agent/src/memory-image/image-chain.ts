/**
 * Where the pages of an image are that was dumped in rounds: each round's pagemap has the pages that changed, and leads
 * to the round before it for the others. Pure.
 *
 * ```
 *  level 0, the last round   ░░░██──██░░      █ present: in the pages image of its level
 *  level 1, its parent       ████──███──      ░ in the parent
 *                            11100  0011      ─ of no interest to the dump
 * ```
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { describeRange, endOf, PAGE_BYTES, type PageRange, PARENT, PRESENT } from "./page-range.ts";

/** A run of pages that lie together. */
export interface Segment {
  readonly vaddr: number;
  readonly pages: number;
  /** Whose pages image has the content, 0 for the last round; null if no one has: it is fetched lazily. */
  readonly level: number | null;
  /** In that pages image, bytes. */
  readonly offset: number;
}

/** A run of bytes in a file. */
export interface FileRange {
  readonly offset: number;
  readonly bytes: number;
}

/**
 * All pages of an image, ascending, given the ranges of each level, last round first. Throws CORRUPT_STREAM if a level
 * leads to a page that its parent does not have.
 */
export function resolveChain(levels: readonly (readonly PageRange[])[]): Segment[] {
  let below: Segment[] = [];
  for (const [level, ranges] of [...levels.entries()].reverse()) below = resolveLevel(ranges, level, below);
  return below;
}

/** The content of the range in these segments, piece by piece; null unless all of it is there. */
export function contentOf(segments: readonly Segment[], range: Pick<PageRange, "vaddr" | "pages">): Segment[] | null {
  const pieces: Segment[] = [];
  const end = endOf(range);
  let { vaddr } = range;
  for (let index = indexOf(segments, vaddr); vaddr < end; index++) {
    const segment = segments[index];
    if (segment === undefined || segment.level === null || segment.vaddr > vaddr) return null;
    const skipped = vaddr - segment.vaddr;
    const pages = (Math.min(endOf(segment), end) - vaddr) / PAGE_BYTES;
    pieces.push({ ...segment, vaddr, pages, offset: segment.offset + skipped });
    vaddr += pages * PAGE_BYTES;
  }
  return pieces;
}

/** Index of the first segment that ends behind this address. */
export function indexOf(segments: readonly Segment[], vaddr: number): number {
  let low = 0;
  let high = segments.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (endOf(segments[middle] as Segment) <= vaddr) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * What the pages image of each level holds in vain: pages that a later round has dumped anew, or that are no more.
 * `bytes` are the lengths of the pages images, last round first.
 */
export function supersededContent(segments: readonly Segment[], bytes: readonly number[]): FileRange[][] {
  return bytes.map((length, level) => {
    const superseded: FileRange[] = [];
    let at = 0;
    // Offsets ascend with the addresses, since every pages image is in the order of its pagemap.
    for (const segment of segments) {
      if (segment.level !== level) continue;
      if (segment.offset > at) superseded.push({ offset: at, bytes: segment.offset - at });
      at = segment.offset + segment.pages * PAGE_BYTES;
    }
    if (length > at) superseded.push({ offset: at, bytes: length - at });
    return superseded;
  });
}

function resolveLevel(ranges: readonly PageRange[], level: number, below: readonly Segment[]): Segment[] {
  const segments: Segment[] = [];
  let offset = 0;
  const add = (segment: Segment) => {
    const last = segments.at(-1);
    if (last !== undefined && follows(last, segment)) {
      segments[segments.length - 1] = { ...last, pages: last.pages + segment.pages };
    } else {
      segments.push(segment);
    }
  };
  for (const { vaddr, pages, flags } of ranges) {
    if ((flags & PRESENT) !== 0) {
      add({ vaddr, pages, level, offset });
      offset += pages * PAGE_BYTES;
    } else if ((flags & PARENT) !== 0) {
      const content = contentOf(below, { vaddr, pages });
      if (content === null) {
        throw new DrayError("CORRUPT_STREAM", `the parent does not have all of ${describeRange({ vaddr, pages })}`);
      }
      for (const piece of content) add(piece);
    } else {
      add({ vaddr, pages, level: null, offset: 0 });
    }
  }
  return segments;
}

function follows(first: Segment, second: Segment): boolean {
  if (first.level !== second.level || endOf(first) !== second.vaddr) return false;
  return first.level === null || first.offset + first.pages * PAGE_BYTES === second.offset;
}
