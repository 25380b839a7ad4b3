/**
 * Where the pages of an image are that was dumped in rounds: each round's pagemap has the pages that it has brought
 * beside those before, and leads to the round before it for the others. Pure.
 *
 * ```
 *  level 0, the last round   ░░░██──██░░      █ present: in the pages image of its level
 *  level 1, its parent       ████──███──      ░ in the parent
 *                            11100  0011      ─ of no interest to the dump
 * ```
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { describeRange, PAGE_BYTES, PARENT, PRESENT } from "./page-range.ts";
import type { RangeList } from "./range-list.ts";
import { SegmentList } from "./segment-list.ts";

/** A run of bytes in a file. */
export interface FileRange {
  readonly offset: number;
  readonly bytes: number;
}

/**
 * All pages of a level, ascending, given its ranges and the pages of its parent. Throws CORRUPT_STREAM if it leads to one
 * that the parent does not have.
 */
export function resolveLevel(ranges: RangeList, level: number, below: SegmentList): SegmentList {
  // Each that the parent has is in one range, or is divided by one.
  const segments = new SegmentList(ranges.length + below.length);
  let offset = 0;
  for (const { vaddr, pages, flags } of ranges) {
    if ((flags & PRESENT) !== 0) {
      segments.push({ vaddr, pages, level, offset });
      offset += pages * PAGE_BYTES;
    } else if ((flags & PARENT) !== 0) {
      if (!below.hasContent({ vaddr, pages })) {
        throw new DrayError("CORRUPT_STREAM", `the parent does not have all of ${describeRange({ vaddr, pages })}`);
      }
      for (const piece of below.piecesOf({ vaddr, pages })) segments.push(piece);
    } else {
      segments.push({ vaddr, pages, level: null, offset: 0 });
    }
  }
  return segments;
}

/**
 * What the pages image of this level holds in vain, given its length: pages that a later round has dumped anew, or that
 * are no more.
 */
export function* supersededContent(segments: SegmentList, level: number, length: number): Generator<FileRange> {
  let at = 0;
  // Offsets ascend with the addresses, since every pages image is in the order of its pagemap.
  for (const segment of segments) {
    if (segment.level !== level) continue;
    if (segment.offset > at) yield { offset: at, bytes: segment.offset - at };
    at = segment.offset + segment.pages * PAGE_BYTES;
  }
  if (length > at) yield { offset: at, bytes: length - at };
}
