/**
 * Leaves out the pages of a payload that hold one byte over and over, as memory that was cleared does. Far cheaper than
 * any compression, and on most memory half of what one would find.
 *
 * ```
 *  pages that are left, in order │ byte of each page that is not │ one bit per page: left out │ original length, u32
 * ```
 *
 * The description comes last, so that packing happens in place: what is left only ever moves towards the start.
 *
 * Both ways take a crc32 of the same bytes in the same order, the pages that are left where they lie in the original:
 * before they are moved, and after they have been moved back.
 */
import { DrayError } from "../errors/dray-error.ts";
import { crc32 } from "./crc.ts";
import { DATA_BYTES } from "./frame.ts";

const PAGE_BYTES = 4096;
const LENGTH_BYTES = 4;
/** What the description takes when no page is left out; one that is makes far more room than its byte needs. */
export const DESCRIPTION_BYTES = Math.ceil(DATA_BYTES / PAGE_BYTES / 8) + LENGTH_BYTES;

export interface Packed {
  readonly bytes: number;
  /** How many of them are content. */
  readonly literalBytes: number;
  /** `seed` continued over the pages that are left. */
  readonly literalCrc: number;
  /** And that over the description. */
  readonly crc: number;
}

/** Packs the first `bytes` of `space` in place. `space` must have room for DESCRIPTION_BYTES more. */
export function packPages(space: Buffer, bytes: number, seed: number): Packed {
  const pages = Math.floor(bytes / PAGE_BYTES);
  const bitmap = Buffer.alloc(Math.ceil(pages / 8));
  const letters: number[] = [];
  let end = 0;
  let runStart = 0;
  let literalCrc = seed;
  const keep = (runEnd: number) => {
    literalCrc = crc32(space.subarray(runStart, runEnd), literalCrc);
    if (end !== runStart) space.copyWithin(end, runStart, runEnd);
    end += runEnd - runStart;
  };
  for (let page = 0; page < pages; page++) {
    const at = page * PAGE_BYTES;
    if (!isUniform(space, at)) continue;
    letters.push(space[at] as number);
    bitmap[page >> 3] = (bitmap[page >> 3] as number) | (1 << (page & 7));
    keep(at);
    runStart = at + PAGE_BYTES;
  }
  keep(bytes);
  const literalBytes = end;
  space.set(letters, end);
  end += letters.length;
  space.set(bitmap, end);
  end = space.writeUInt32BE(bytes, end + bitmap.length);
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
  const lengthAt = packed.length - LENGTH_BYTES;
  if (lengthAt < 0) throw corrupt();
  const bytes = packed.readUInt32BE(lengthAt);
  const pages = Math.floor(bytes / PAGE_BYTES);
  const bitmapAt = lengthAt - Math.ceil(pages / 8);
  if (bytes === 0 || bytes > DATA_BYTES || bitmapAt < 0) throw corrupt();
  const uniform: number[] = [];
  for (let page = 0; page < (lengthAt - bitmapAt) * 8; page++) {
    if (((packed[bitmapAt + (page >> 3)] as number) & (1 << (page & 7))) === 0) continue;
    if (page >= pages) throw corrupt();
    uniform.push(page);
  }
  const lettersAt = bitmapAt - uniform.length;
  if (lettersAt !== bytes - uniform.length * PAGE_BYTES) throw corrupt();
  const original = allocate(bytes);
  let crc = seedFor(bytes);
  let from = 0;
  let to = 0;
  const moveBack = (runEnd: number) => {
    packed.copy(original, to, from, from + runEnd - to);
    crc = crc32(original.subarray(to, runEnd), crc);
    from += runEnd - to;
  };
  for (const [index, page] of uniform.entries()) {
    const at = page * PAGE_BYTES;
    moveBack(at);
    to = at + PAGE_BYTES;
    original.fill(packed[lettersAt + index] as number, at, to);
  }
  moveBack(bytes);
  return { original, crc: crc32(packed.subarray(lettersAt), crc) };
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
