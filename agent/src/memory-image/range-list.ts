/** Ranges of pages, ascending, 13 bytes each: a process that writes here and there has millions. Pure. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { letGo } from "./let-go.ts";
import type { PageRange } from "./page-range.ts";

const FIRST_ROOM = 256;
/** A length. */
const LET_GO = -1;

export class RangeList implements Iterable<PageRange> {
  #vaddrs: Float64Array<ArrayBuffer>;
  #pages: Uint32Array<ArrayBuffer>;
  #flags: Uint8Array<ArrayBuffer>;
  #length = 0;

  /** With room for so many, and for half as many again each time that it does not suffice; what is not used takes no memory. */
  constructor(room = FIRST_ROOM) {
    this.#vaddrs = new Float64Array(room);
    this.#pages = new Uint32Array(room);
    this.#flags = new Uint8Array(room);
  }

  /** Throws INTERNAL, as reading it, once it was let go. */
  get length(): number {
    if (this.#length === LET_GO) throw new DrayError("INTERNAL", "an image of memory is read that was closed");
    return this.#length;
  }

  push({ vaddr, pages, flags }: PageRange): void {
    if (this.length === this.#vaddrs.length) this.#grow();
    const index = this.#length++;
    this.#vaddrs[index] = vaddr;
    this.#pages[index] = pages;
    this.#flags[index] = flags;
  }

  #grow(): void {
    const old = [this.#vaddrs, this.#pages, this.#flags] as const;
    const room = Math.max(FIRST_ROOM, Math.ceil(this.#length * 1.5));
    this.#vaddrs = new Float64Array(room);
    this.#pages = new Uint32Array(room);
    this.#flags = new Uint8Array(room);
    this.#vaddrs.set(old[0]);
    this.#pages.set(old[1]);
    this.#flags.set(old[2]);
    letGo(...old);
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
