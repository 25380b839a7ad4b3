/**
 * Pages of one process that follow each other, gathered to be placed as one, from wherever they come: each placing is a
 * message to the fault server.
 */
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { MAX_PAGES_PER_FRAME } from "./protocol.ts";

/** Places whole pages from this address on; they are used again when it resolves. */
export type Place = (task: number, address: number, pages: Buffer) => Promise<void>;

export class PageRun {
  readonly #place: Place;
  readonly #space = Buffer.allocUnsafeSlow(MAX_PAGES_PER_FRAME * PAGE_BYTES);
  #task = 0;
  #address = 0;
  #filled = 0;

  constructor(place: Place) {
    this.#place = place;
  }

  /** What is added from now on lies there. All pages before are whole. */
  async begin(task: number, address: number): Promise<void> {
    if (task === this.#task && address === this.#address + this.#filled) return;
    await this.settle();
    this.#task = task;
    this.#address = address;
  }

  /** Where so many bytes more go, or the first of them; never empty. To be told by `add` how much of it was filled. */
  async space(bytes: number): Promise<Buffer> {
    if (this.#filled === this.#space.length) await this.settle();
    return this.#space.subarray(this.#filled, Math.min(this.#space.length, this.#filled + bytes));
  }

  add(bytes: number): void {
    this.#filled += bytes;
  }

  /** Places all pages that are whole. */
  async settle(): Promise<void> {
    const bytes = this.#filled - (this.#filled % PAGE_BYTES);
    if (bytes === 0) return;
    await this.#place(this.#task, this.#address, this.#space.subarray(0, bytes));
    this.#space.copyWithin(0, bytes, this.#filled);
    this.#address += bytes;
    this.#filled -= bytes;
  }
}
