/** Ranges of pages, ascending, 13 bytes each: a process that writes here and there has millions. Pure. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { letGo } from "./let-go.ts";
import type { PageRange } from "./page-range.ts";

/** A length. */
const LET_GO = -1;

export class RangeList implements Iterable<PageRange> {
  readonly #vaddrs: Float64Array<ArrayBuffer>;
  readonly #pages: Uint32Array<ArrayBuffer>;
  readonly #flags: Uint8Array<ArrayBuffer>;
  #length = 0;

  /** Of so many at most; what is not used takes no memory. */
  constructor(most: number) {
    this.#vaddrs = new Float64Array(most);
    this.#pages = new Uint32Array(most);
    this.#flags = new Uint8Array(most);
  }

  /** Throws INTERNAL, as reading it, once it was let go. */
  get length(): number {
    if (this.#length === LET_GO) throw new DrayError("INTERNAL", "an image of memory is read that was closed");
    return this.#length;
  }

  push({ vaddr, pages, flags }: PageRange): void {
    if (this.length === this.#vaddrs.length) throw new DrayError("INTERNAL", "there are more ranges than there can be");
    const index = this.#length++;
    this.#vaddrs[index] = vaddr;
    this.#pages[index] = pages;
    this.#flags[index] = flags;
  }

  /** It is not used any more. */
  letGo(): void {
    letGo(this.#vaddrs, this.#pages, this.#flags);
    this.#length = LET_GO;
  }

  *[Symbol.iterator](): Generator<PageRange, void, undefined> {
    for (let index = 0; index < this.length; index++) {
      yield {
        vaddr: this.#vaddrs[index] as number,
        pages: this.#pages[index] as number,
        flags: this.#flags[index] as number,
      };
    }
  }
}
