/** The pages of a batch that have content: where it lies while they are judged and sent, and what becomes of each. */
import { PAGE_BYTES } from "../memory-image/page-range.ts";

/** Fits the processor's cache: filled, judged and sent while it is there. */
export const BATCH_PAGES = 128;

/** As the round before has it. */
export const SAME = 0;
/** Goes whole. */
export const SENT = 1;
/** Goes as a reference to another one that was sent. */
export const REPEATED = 2;
/** Goes as what has changed in it. */
export const CHANGED = 3;

/** Pages of an image that follow each other, and were added together. */
export interface Piece {
  readonly vaddr: number;
  /** Where they begin in the window. */
  readonly firstPage: number;
  readonly pages: number;
  /** Of the flags of its ranges: LAZY, or none. */
  readonly flags: number;
  /** The round before has it, which needs no look at its content: it is not in the window. */
  readonly isSame: boolean;
  /** It goes with its content, whatever the round before has. */
  readonly isWhole: boolean;
}

export class PageWindow {
  readonly content = Buffer.allocUnsafeSlow(BATCH_PAGES * PAGE_BYTES);
  /** One of the above for each page; SENT if nobody judges it. */
  readonly fates = Buffer.alloc(BATCH_PAGES, SENT);
  /** Of a page that is REPEATED, the number of the one with its content; of one that is CHANGED, that of its change. */
  readonly #numbers = new Uint32Array(BATCH_PAGES);
  #changes: Buffer[] = [];

  /** It has the content of the page with this number in the stream. */
  repeat(page: number, number: number): void {
    this.fates[page] = REPEATED;
    this.#numbers[page] = number;
  }

  change(page: number, change: Buffer): void {
    this.fates[page] = CHANGED;
    this.#numbers[page] = this.#changes.push(change) - 1;
  }

  /** The number of the page that has the content of this one, which is REPEATED. */
  repeatedBy(page: number): number {
    return this.#numbers[page] as number;
  }

  /** What has changed in this page, which is CHANGED. */
  changeOf(page: number): Buffer {
    return this.#changes[this.#numbers[page] as number] as Buffer;
  }

  /** How many pages from this one on, before `end`, can go as one: they share its fate. */
  runFrom(page: number, end: number): number {
    const fate = this.fates[page];
    const number = this.#numbers[page] as number;
    let run = 1;
    while (
      page + run < end &&
      this.fates[page + run] === fate &&
      (fate !== REPEATED || this.#numbers[page + run] === number + run)
    )
      run++;
    return run;
  }

  /** What it has was written. */
  clear(): void {
    this.#changes = [];
  }
}
