/**
 * Finds pages that have the content of others which were sent in the same round: copies on write that were written to
 * and written back, processes that were forked from one another, the same library in each of many.
 *
 * Remembers so many digests as fit, the newer one where two fall together, and so misses some of what it could find.
 */
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { REPEAT_REACH_PAGES } from "../memory-image/written-pages.ts";
import { DIGEST_BYTES } from "../native/addon.ts";

/** Of 1 GiB; the table takes 36 bytes for each. */
const REMEMBERED_PAGES = 2 ** 18;
/** 2^32 divided by it, odd. */
const GOLDEN_RATIO = 0x9e3779b1;

export class RepeatedPages {
  readonly #digests = Buffer.alloc(REMEMBERED_PAGES * DIGEST_BYTES);
  /** One more than the number of the page; 0 for none. */
  readonly #numbers = new Uint32Array(REMEMBERED_PAGES);
  #count = 0;

  /** Counts from 0 again: a new stream begins. */
  begin(): void {
    this.#numbers.fill(0);
    this.#count = 0;
  }

  /**
   * The number of a page of this stream with the same content; undefined if none is known. Each page that is sent in
   * the stream, or repeated, has to be asked for, once, in the order of the stream: that is how they are counted.
   */
  take(content: Buffer, offset: number, digests: Buffer, digestOffset: number): number | undefined {
    const number = this.#count++;
    if (isUniform(content, offset)) return undefined;
    const slot = slotOf(digests, digestOffset);
    const at = slot * DIGEST_BYTES;
    const known = this.#numbers[slot] as number;
    if (
      known > 0 &&
      number - known < REPEAT_REACH_PAGES &&
      digests.compare(this.#digests, at, at + DIGEST_BYTES, digestOffset, digestOffset + DIGEST_BYTES) === 0
    ) {
      // The earliest in reach stays: of a run that comes again the numbers follow each other.
      return known - 1;
    }
    digests.copy(this.#digests, at, digestOffset, digestOffset + DIGEST_BYTES);
    this.#numbers[slot] = number + 1;
    return undefined;
  }
}

/** Of a sum of products no part alone is evenly distributed: the lower bits of a word do not see its upper ones. */
function slotOf(digests: Buffer, offset: number): number {
  let mixed = 0;
  for (let at = offset; at < offset + DIGEST_BYTES; at += 4) {
    mixed = Math.imul(mixed ^ digests.readUInt32LE(at), GOLDEN_RATIO);
    mixed ^= mixed >>> 15;
  }
  return (mixed >>> 0) % REMEMBERED_PAGES;
}

/** One byte over and over: the frame leaves such pages out, for less than a reference. */
function isUniform(content: Buffer, offset: number): boolean {
  const end = offset + PAGE_BYTES;
  if (content[offset] !== content[offset + 1] || content[offset] !== content[end - 1]) return false;
  return content.compare(content, offset, end - 1, offset + 1, end) === 0;
}
