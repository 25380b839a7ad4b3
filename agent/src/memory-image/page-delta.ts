/**
 * What has changed of a page, for a receiver that has it as it was. Pure.
 *
 * ```
 *  u32 CRC-32 of the page as it is now │ runs: u16 first word │ u16 words │ the words │ …      little-endian, words of 4 bytes
 * ```
 *
 * The checksum is of the result: whoever applies it to something else than it was made from is told so.
 */
import { crc32 } from "node:zlib";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { PAGE_BYTES } from "./page-range.ts";

const WORD_BYTES = 4;
const PAGE_WORDS = PAGE_BYTES / WORD_BYTES;
const HEAD_BYTES = 4;
const RUN_HEAD_BYTES = 4;
/** Words between two runs that are not worth a head of their own. */
const GAP_WORDS = 2;

/** More than that is not worth it: the whole page goes. */
export const DELTA_BYTES_MAX = PAGE_BYTES / 2;

/** Null if it would be larger than DELTA_BYTES_MAX. Both hold a page from their offsets on. */
export function encodeDelta(before: Buffer, beforeAt: number, after: Buffer, afterAt: number): Buffer | null {
  const delta = Buffer.allocUnsafe(DELTA_BYTES_MAX);
  let length = HEAD_BYTES;
  for (let word = 0; word < PAGE_WORDS; ) {
    if (isSame(before, beforeAt, after, afterAt, word)) {
      word++;
      continue;
    }
    let end = word + 1;
    for (let next = end; next < PAGE_WORDS && next <= end + GAP_WORDS; next++) {
      if (!isSame(before, beforeAt, after, afterAt, next)) end = next + 1;
    }
    const bytes = (end - word) * WORD_BYTES;
    if (length + RUN_HEAD_BYTES + bytes > DELTA_BYTES_MAX) return null;
    delta.writeUInt16LE(word, length);
    delta.writeUInt16LE(end - word, length + 2);
    after.copy(delta, length + RUN_HEAD_BYTES, afterAt + word * WORD_BYTES, afterAt + end * WORD_BYTES);
    length += RUN_HEAD_BYTES + bytes;
    word = end;
  }
  delta.writeUInt32LE(crc32(after.subarray(afterAt, afterAt + PAGE_BYTES)), 0);
  return delta.subarray(0, length);
}

/** Makes of the page as it was the page as it is. Throws CORRUPT_STREAM if that does not come out. */
export function applyDelta(page: Buffer, delta: Buffer): void {
  if (delta.length < HEAD_BYTES) throw corrupt("is cut short");
  for (let at = HEAD_BYTES; at < delta.length; ) {
    if (at + RUN_HEAD_BYTES > delta.length) throw corrupt("is cut short");
    const word = delta.readUInt16LE(at);
    const words = delta.readUInt16LE(at + 2);
    const end = at + RUN_HEAD_BYTES + words * WORD_BYTES;
    if (words === 0 || word + words > PAGE_WORDS || end > delta.length) throw corrupt("reaches too far");
    delta.copy(page, word * WORD_BYTES, at + RUN_HEAD_BYTES, end);
    at = end;
  }
  if (crc32(page) !== delta.readUInt32LE(0)) throw corrupt("does not fit what is here");
}

function isSame(before: Buffer, beforeAt: number, after: Buffer, afterAt: number, word: number): boolean {
  return before.readInt32LE(beforeAt + word * WORD_BYTES) === after.readInt32LE(afterAt + word * WORD_BYTES);
}

function corrupt(what: string): DrayError {
  return new DrayError("CORRUPT_STREAM", `the stream of memory has a change of a page that ${what}`);
}
