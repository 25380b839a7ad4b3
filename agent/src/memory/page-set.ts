/** Which pages of an address space are meant: a bitmap by regions, so that a million scattered ones are no burden. Pure. */
import { PAGE_BYTES } from "../memory-image/page-range.ts";

/** What one page table has. */
export const REGION_PAGES = 512;
export const REGION_BYTES = REGION_PAGES * PAGE_BYTES;

interface PageRun {
  readonly start: number;
  readonly pages: number;
}

/** Of the bits of one region. */
const REGION_BITS_BYTES = REGION_PAGES / 8;
const REGIONS_AT_FIRST = 4;

export class PageSet {
  /** Where the bits of each region begin. */
  readonly #regions = new Map<number, number>();
  /** Of all regions: an array for each would take more than its bits do. */
  #bits = new Uint8Array(REGIONS_AT_FIRST * REGION_BITS_BYTES);
  #order: number[] | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(range: PageRun): void {
    if (range.pages === REGION_PAGES && range.start % REGION_BYTES === 0) return this.#addRegion(range.start);
    this.#each(range, (byte, bit) => {
      if (((this.#bits[byte] as number) & bit) !== 0) return;
      this.#bits[byte] = (this.#bits[byte] as number) | bit;
      this.#size++;
    });
  }

  #addRegion(start: number): void {
    const from = this.#demand(start / REGION_BYTES);
    const bits = this.#bits.subarray(from, from + REGION_BITS_BYTES);
    this.#size += REGION_PAGES - count(bits);
    bits.fill(0xff);
  }

  delete(range: PageRun): void {
    this.#each(range, (byte, bit) => {
      if (((this.#bits[byte] as number) & bit) === 0) return;
      this.#bits[byte] = (this.#bits[byte] as number) & ~bit;
      this.#size--;
    });
  }

  has(address: number): boolean {
    const page = Math.floor(address / PAGE_BYTES);
    const from = this.#regions.get(Math.floor(page / REGION_PAGES));
    return from !== undefined && this.#isSet(from, page % REGION_PAGES);
  }

  /** The pages in it that follow each other from this one on, at most so many, within a region; 0 if it is not in it. */
  runFrom(address: number, limit: number): number {
    const page = Math.floor(address / PAGE_BYTES);
    const from = this.#regions.get(Math.floor(page / REGION_PAGES));
    if (from === undefined) return 0;
    const first = page % REGION_PAGES;
    let index = first;
    while (index < REGION_PAGES && index - first < limit && this.#isSet(from, index)) index++;
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
      const index = this.#firstIn(this.#regions.get(key) as number, from);
      if (index !== undefined) return (key * REGION_PAGES + index) * PAGE_BYTES;
    }
    return undefined;
  }

  /** In the region whose bits begin there, from this page of it on. */
  #firstIn(bitsAt: number, from: number): number | undefined {
    for (let index = from; index < REGION_PAGES; index++) {
      if (this.#bits[bitsAt + (index >> 3)] === 0) index |= 7;
      else if (this.#isSet(bitsAt, index)) return index;
    }
    return undefined;
  }

  #isSet(bitsAt: number, index: number): boolean {
    return ((this.#bits[bitsAt + (index >> 3)] as number) & (1 << (index & 7))) !== 0;
  }

  #each({ start, pages }: PageRun, body: (byte: number, bit: number) => void): void {
    const first = Math.floor(start / PAGE_BYTES);
    for (let page = first; page < first + pages; page++) {
      const index = page % REGION_PAGES;
      body(this.#demand(Math.floor(page / REGION_PAGES)) + (index >> 3), 1 << (index & 7));
    }
  }

  /** Where the bits of this region begin; none is set if it is new. */
  #demand(region: number): number {
    const known = this.#regions.get(region);
    if (known !== undefined) return known;
    const from = this.#regions.size * REGION_BITS_BYTES;
    if (from === this.#bits.length) {
      const larger = new Uint8Array(2 * this.#bits.length);
      larger.set(this.#bits);
      this.#bits = larger;
    }
    this.#regions.set(region, from);
    this.#order = undefined;
    return from;
  }
}

function count(bits: Uint8Array): number {
  let set = 0;
  for (let byte of bits) for (; byte > 0; byte &= byte - 1) set++;
  return set;
}
