/**
 * Ranges of pages, ascending, as far as they are to be gone through once and later: those of all processes of a
 * container wait at the same time, and one that writes here and there has millions. About 3 bytes each. Pure.
 *
 * Of each range the pages since the end of the one before, and twice its length, with one more if it is LAZY, as
 * variable-length numbers (LEB128).
 */
import { endOf, LAZY, PAGE_BYTES, type PageRange } from "../memory-image/page-range.ts";

const FIRST_BLOCK_BYTES = 256;
const MOST_BLOCK_BYTES = 2 ** 16;
/** Of both numbers, at most: 52 bits, 7 in each byte. */
const LONGEST_BYTES = 2 * 8;
const GROUP = 2 ** 7;

export class NotedRanges {
  /** Filled one after the other; a range lies in one of them. */
  readonly #blocks: { readonly bytes: Buffer; length: number }[] = [];
  #end = 0;

  /** Of its flags, LAZY is kept. */
  push(range: PageRange): void {
    let block = this.#blocks.at(-1);
    if (block === undefined || block.length + LONGEST_BYTES > block.bytes.length) {
      const size = Math.min(MOST_BLOCK_BYTES, FIRST_BLOCK_BYTES * 2 ** this.#blocks.length);
      block = { bytes: Buffer.allocUnsafeSlow(size), length: 0 };
      this.#blocks.push(block);
    }
    const isLazy = (range.flags & LAZY) !== 0;
    for (let number of [(range.vaddr - this.#end) / PAGE_BYTES, range.pages * 2 + (isLazy ? 1 : 0)]) {
      for (; number >= GROUP; number = Math.floor(number / GROUP))
        block.bytes[block.length++] = GROUP + (number % GROUP);
      block.bytes[block.length++] = number;
    }
    this.#end = endOf(range);
  }

  /** Once: what has been given is not kept. */
  *take(): Generator<PageRange, void, undefined> {
    let end = 0;
    for (let block = this.#blocks.shift(); block !== undefined; block = this.#blocks.shift()) {
      const { bytes, length } = block;
      let at = 0;
      const next = () => {
        let number = 0;
        for (let factor = 1; ; factor *= GROUP) {
          const byte = bytes[at++] as number;
          number += (byte % GROUP) * factor;
          if (byte < GROUP) return number;
        }
      };
      while (at < length) {
        const vaddr = end + next() * PAGE_BYTES;
        const coded = next();
        const range = { vaddr, pages: Math.floor(coded / 2), flags: coded % 2 === 1 ? LAZY : 0 };
        end = endOf(range);
        yield range;
      }
    }
  }
}
