/** Which pages of an address space are meant: a bitmap by regions, so that a million scattered ones are no burden. Pure. */
import { PAGE_BYTES } from "../memory-image/page-range.ts";

/** What one page table has. */
export const REGION_PAGES = 512;
export const REGION_BYTES = REGION_PAGES * PAGE_BYTES;

interface PageRun {
  readonly start: number;
  readonly pages: number;
}

export class PageSet {
  readonly #regions = new Map<number, Uint8Array>();
  #order: number[] | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(range: PageRun): void {
    if (range.pages === REGION_PAGES && range.start % REGION_BYTES === 0) return this.#addRegion(range.start);
    this.#each(range, (bits, index) => {
      const byte = index >> 3;
      const bit = 1 << (index & 7);
      if (((bits[byte] as number) & bit) !== 0) return;
      bits[byte] = (bits[byte] as number) | bit;
      this.#size++;
    });
  }

  #addRegion(start: number): void {
    const key = start / REGION_BYTES;
    const known = this.#regions.get(key);
    if (known === undefined) this.#order = undefined;
    const before = known === undefined ? 0 : count(known);
    this.#regions.set(key, new Uint8Array(REGION_PAGES / 8).fill(0xff));
    this.#size += REGION_PAGES - before;
  }

  delete(range: PageRun): void {
    this.#each(range, (bits, index) => {
      const byte = index >> 3;
      const bit = 1 << (index & 7);
      if (((bits[byte] as number) & bit) === 0) return;
      bits[byte] = (bits[byte] as number) & ~bit;
      this.#size--;
    });
  }

  has(address: number): boolean {
    const page = Math.floor(address / PAGE_BYTES);
    const bits = this.#regions.get(Math.floor(page / REGION_PAGES));
    const index = page % REGION_PAGES;
    return bits !== undefined && ((bits[index >> 3] as number) & (1 << (index & 7))) !== 0;
  }

  /** The pages in it that follow each other from this one on, at most so many, within a region; 0 if it is not in it. */
  runFrom(address: number, limit: number): number {
    const page = Math.floor(address / PAGE_BYTES);
    const bits = this.#regions.get(Math.floor(page / REGION_PAGES));
    if (bits === undefined) return 0;
    const first = page % REGION_PAGES;
    let index = first;
    while (index < REGION_PAGES && index - first < limit && ((bits[index >> 3] as number) & (1 << (index & 7))) !== 0)
      index++;
    return index - first;
  }

  /** Address of the first page in it at or behind this one, or else of the first of all; undefined if it is empty. */
  nextFrom(address: number): number | undefined {
    if (this.#size === 0) return undefined;
    const page = Math.floor(address / PAGE_BYTES);
    const region = Math.floor(page / REGION_PAGES);
    this.#order ??= [...this.#regions.keys()].sort((a, b) => a - b);
    const order = this.#order;
    let at = 0;
    for (let low = 0, high = order.length; low < high; at = low) {
      const middle = (low + high) >> 1;
      if ((order[middle] as number) < region) low = middle + 1;
      else high = middle;
    }
    for (let step = 0; step <= order.length; step++) {
      const key = order[(at + step) % order.length] as number;
      const from = step === 0 && key === region ? page % REGION_PAGES : 0;
      const index = this.#firstIn(this.#regions.get(key) as Uint8Array, from);
      if (index !== undefined) return (key * REGION_PAGES + index) * PAGE_BYTES;
    }
    return undefined;
  }

  #firstIn(bits: Uint8Array, from: number): number | undefined {
    for (let index = from; index < REGION_PAGES; index++) {
      if (bits[index >> 3] === 0) index |= 7;
      else if (((bits[index >> 3] as number) & (1 << (index & 7))) !== 0) return index;
    }
    return undefined;
  }

  #each({ start, pages }: PageRun, body: (bits: Uint8Array, index: number) => void): void {
    const first = Math.floor(start / PAGE_BYTES);
    for (let page = first; page < first + pages; page++) {
      const key = Math.floor(page / REGION_PAGES);
      let bits = this.#regions.get(key);
      if (bits === undefined) {
        bits = new Uint8Array(REGION_PAGES / 8);
        this.#regions.set(key, bits);
        this.#order = undefined;
      }
      body(bits, page % REGION_PAGES);
    }
  }
}

function count(bits: Uint8Array): number {
  let set = 0;
  for (let byte of bits) for (; byte > 0; byte &= byte - 1) set++;
  return set;
}
