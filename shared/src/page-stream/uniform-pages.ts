/**
 * Leaves out the pages of a payload that hold one byte over and over, as memory that was cleared does: a range of them
 * takes three bytes. Far cheaper than any compression, and on most memory half of what one would find.
 *
 * ```
 *  pages that are left, in order │ ranges │ how many, u8 │ original length, u32
 *
 *  range: first page, u8 │ pages, u8 │ their byte
 * ```
 *
 * Ranges ascend and do not overlap. The description comes last, so that packing happens in place: what is left only
 * ever moves towards the start.
 *
 * Both ways take a crc32 of the same bytes in the same order, the pages that are left where they lie in the original:
 * before they are moved, and after they have been moved back.
 */
import { DrayError } from "../errors/dray-error.ts";
import { crc32 } from "./crc.ts";
import { DATA_BYTES } from "./frame.ts";

const PAGE_BYTES = 4096;
const RANGE_BYTES = 3;
/** Behind the ranges: their count, and the length. */
const TAIL_BYTES = 5;
/** What the description takes when no page is left out; one that is makes far more room than its range needs. */
export const DESCRIPTION_BYTES = TAIL_BYTES;

export interface Packed {
  readonly bytes: number;
  /** How many of them are content. */
  readonly literalBytes: number;
  /** `seed` continued over the pages that are left. */
  readonly literalCrc: number;
  /** And that over the description. */
  readonly crc: number;
}

/** Packs the first `bytes` of `space`, of DATA_BYTES at most, in place. It must have room for DESCRIPTION_BYTES more. */
export function packPages(space: Buffer, bytes: number, seed: number): Packed {
  const pages = Math.floor(bytes / PAGE_BYTES);
  const description: number[] = [];
  let end = 0;
  let leftStart = 0;
  let literalCrc = seed;
  const keep = (leftEnd: number) => {
    literalCrc = crc32(space.subarray(leftStart, leftEnd), literalCrc);
    if (end !== leftStart) space.copyWithin(end, leftStart, leftEnd);
    end += leftEnd - leftStart;
  };
  for (let page = 0; page < pages; page++) {
    const at = page * PAGE_BYTES;
    if (!isUniform(space, at)) continue;
    const byte = space[at] as number;
    const first = page;
    while (
      page + 1 < pages &&
      space[at] === space[(page + 1) * PAGE_BYTES] &&
      isUniform(space, (page + 1) * PAGE_BYTES)
    )
      page += 1;
    description.push(first, page + 1 - first, byte);
    keep(at);
    leftStart = (page + 1) * PAGE_BYTES;
  }
  keep(bytes);
  const literalBytes = end;
  space.set(description, end);
  end += description.length;
  end = space.writeUInt8(description.length / RANGE_BYTES, end);
  end = space.writeUInt32BE(bytes, end);
  return { bytes: end, literalBytes, literalCrc, crc: crc32(space.subarray(literalBytes, end), literalCrc) };
}

/**
 * The original of what was packed, in memory from `allocate`, and its crc as packPages takes it, from the seed for that
 * many bytes; CORRUPT_STREAM if it cannot be the result of packing.
 */
export function unpackPages(
  packed: Buffer,
  allocate: (bytes: number) => Buffer,
  seedFor: (bytes: number) => number,
): { original: Buffer; crc: number } {
  const { bytes, ranges, rangesAt } = readDescription(packed);
  const original = allocate(bytes);
  let crc = seedFor(bytes);
  let from = 0;
  let to = 0;
  const moveBack = (leftEnd: number) => {
    packed.copy(original, to, from, from + leftEnd - to);
    crc = crc32(original.subarray(to, leftEnd), crc);
    from += leftEnd - to;
  };
  for (const { start, end, byte } of ranges) {
    moveBack(start);
    original.fill(byte, start, end);
    to = end;
  }
  moveBack(bytes);
  return { original, crc: crc32(packed.subarray(rangesAt), crc) };
}

interface Range {
  /** Of the original, in bytes. */
  readonly start: number;
  readonly end: number;
  readonly byte: number;
}

function readDescription(packed: Buffer): { bytes: number; ranges: readonly Range[]; rangesAt: number } {
  const tailAt = packed.length - TAIL_BYTES;
  if (tailAt < 0) throw corrupt();
  const bytes = packed.readUInt32BE(tailAt + 1);
  const rangesAt = tailAt - RANGE_BYTES * packed.readUInt8(tailAt);
  if (bytes === 0 || bytes > DATA_BYTES || rangesAt < 0) throw corrupt();
  const ranges: Range[] = [];
  let leftOut = 0;
  let lastEnd = 0;
  for (let at = rangesAt; at < tailAt; at += RANGE_BYTES) {
    const [first = 0, pages = 0, byte = 0] = packed.subarray(at, at + RANGE_BYTES);
    const start = first * PAGE_BYTES;
    const end = start + pages * PAGE_BYTES;
    if (pages === 0 || start < lastEnd || end > bytes) throw corrupt();
    ranges.push({ start, end, byte });
    leftOut += end - start;
    lastEnd = end;
  }
  if (rangesAt !== bytes - leftOut) throw corrupt();
  return { bytes, ranges, rangesAt };
}

function isUniform(space: Buffer, at: number): boolean {
  const letter = space[at];
  const last = at + PAGE_BYTES - 1;
  // Most pages that are not uniform differ here already, without the call.
  if (space[at + 1] !== letter || space[at + PAGE_BYTES / 2] !== letter || space[last] !== letter) return false;
  return space.compare(space, at, last, at + 1, last + 1) === 0;
}

function corrupt(): DrayError {
  return new DrayError("CORRUPT_STREAM", "page stream: a packed frame does not say what it holds");
}
