/**
 * What is known of pages that have been sent: the digest of each, by image and address. In rounds: a page that is the
 * same as in the round before need not be sent again, if that round has told of it, since the images of a round refer
 * to those of the round before.
 *
 * Of more than some gigabytes of memory it lies in a file (spilling-records.ts), region by region: rounds go through
 * the memory in order.
 */
import { randomFillSync } from "node:crypto";
import { type ImageId, PAGE_BYTES } from "../memory-image/page-range.ts";
import type { PageSet } from "./page-set.ts";
import { DIGEST_BYTES, DIGEST_KEY_BYTES, addon } from "../native/addon.ts";
import type { SpillFile } from "./spill-file.ts";
import { type RecordLimits, SpillingRecords } from "./spilling-records.ts";

/** Pages whose digests lie together. */
export const REGION_PAGES = 512;
export const REGION_BYTES = REGION_PAGES * PAGE_BYTES;

/** Of regions, what is in memory of each kind of record. */
export interface DigestLimits {
  readonly digests: RecordLimits;
  readonly toldIn: RecordLimits;
}

/** 16 MiB, of 2 GiB, and 2 MiB, of 8 GiB: pages that were not written to, as far as the kernel notes that, need no digest. */
const LIMITS: DigestLimits = { digests: { kept: 896, cached: 128 }, toldIn: { kept: 3840, cached: 256 } };

/** Two, so that what is all zeros was not told of before the first round either. */
const TOLD_IN = 2;

export class DigestTable {
  /** Rounds that can be told apart. */
  static readonly MOST_ROUNDS = 256 - TOLD_IN;
  readonly #key = Buffer.allocUnsafeSlow(DIGEST_KEY_BYTES);
  readonly #file: SpillFile;
  /** Of each region, by its number. */
  readonly #digests: SpillingRecords;
  /** Of each page of a region, TOLD_IN more than the last round that has told of it; 0 for none. */
  readonly #toldIn: SpillingRecords;
  /** The numbers of regions, by image and index. */
  readonly #images = new Map<string, Map<number, number>>();
  #regions = 0;

  /** What does not fit into memory goes into this file, which is this table's then. */
  constructor(file: SpillFile, limits: DigestLimits = LIMITS) {
    randomFillSync(this.#key);
    this.#file = file;
    this.#digests = new SpillingRecords(REGION_PAGES * DIGEST_BYTES, limits.digests, file);
    this.#toldIn = new SpillingRecords(REGION_PAGES, limits.toldIn, file);
  }

  /**
   * Judges pages of one region, and remembers them as told of in this round. Writes 1 into `verdicts` for each page
   * that has to be sent, 0 for each that the round before has. Returns how many are to be sent.
   */
  compare(
    image: ImageId,
    round: number,
    vaddr: number,
    content: Buffer,
    offset: number,
    pages: number,
    verdicts: Buffer,
  ): number {
    const first = (vaddr % REGION_BYTES) / PAGE_BYTES;
    if (first + pages > REGION_PAGES) throw new RangeError("pages of more than one region");
    const region = this.#numberOf(image, vaddr);
    const digests = this.#digests.at(region);
    let toSend = addon().compare(content, offset, pages, this.#key, digests.bytes, first * DIGEST_BYTES, verdicts, 0);
    if (toSend > 0) digests.isChanged = true;
    const toldIn = this.#toldIn.at(region);
    toldIn.isChanged = true;
    const { bytes } = toldIn;
    const before = round - 1 + TOLD_IN;
    for (let page = 0; page < pages; page++) {
      if (verdicts[page] === 0 && bytes[first + page] !== before) {
        verdicts[page] = 1;
        toSend++;
      }
      bytes[first + page] = round + TOLD_IN;
    }
    return toSend;
  }

  /** Whether the round before has told of this page. To be asked before `compare` is. */
  wasTold(image: ImageId, round: number, vaddr: number): boolean {
    const { bytes } = this.#toldIn.at(this.#numberOf(image, vaddr));
    return bytes[(vaddr % REGION_BYTES) / PAGE_BYTES] === round - 1 + TOLD_IN;
  }

  /**
   * Where the digest of this page is; those of the pages behind it, in its region, follow. As `compare` has left it. To
   * be used before the next call, which may put another region in its place.
   */
  digestAt(image: ImageId, vaddr: number): { readonly digests: Buffer; readonly offset: number } {
    const { bytes } = this.#digests.at(this.#numberOf(image, vaddr));
    return { digests: bytes, offset: ((vaddr % REGION_BYTES) / PAGE_BYTES) * DIGEST_BYTES };
  }

  /**
   * How many of these pages, from the first on and within its region, are alike in this: whether the round before has
   * told of them, and they were not written to since. `isSame` if so.
   */
  runFrom(
    image: ImageId,
    round: number,
    vaddr: number,
    pages: number,
    written: PageSet,
  ): { readonly pages: number; readonly isSame: boolean } {
    const { bytes } = this.#toldIn.at(this.#numberOf(image, vaddr));
    const first = (vaddr % REGION_BYTES) / PAGE_BYTES;
    const end = Math.min(pages, REGION_PAGES - first);
    const before = round - 1 + TOLD_IN;
    const isSameAt = (page: number) => bytes[first + page] === before && !written.has(vaddr + page * PAGE_BYTES);
    const isSame = isSameAt(0);
    let run = 1;
    while (run < end && isSameAt(run) === isSame) run++;
    return { pages: run, isSame };
  }

  /** Remembers pages of one region as told of in this round, too: they are what they were in the round before. */
  tell(image: ImageId, round: number, vaddr: number, pages: number): void {
    const first = (vaddr % REGION_BYTES) / PAGE_BYTES;
    const toldIn = this.#toldIn.at(this.#numberOf(image, vaddr));
    toldIn.isChanged = true;
    toldIn.bytes.fill(round + TOLD_IN, first, first + pages);
  }

  /** These pages count as never told of. */
  forget(image: ImageId, vaddr: number, pages: number): void {
    const numbers = this.#images.get(nameOf(image));
    const end = vaddr + pages * PAGE_BYTES;
    for (let at = vaddr; at < end; ) {
      const next = Math.min(end, at - (at % REGION_BYTES) + REGION_BYTES);
      const number = numbers?.get(Math.floor(at / REGION_BYTES));
      if (number !== undefined) {
        const toldIn = this.#toldIn.at(number);
        toldIn.isChanged = true;
        const first = (at % REGION_BYTES) / PAGE_BYTES;
        toldIn.bytes.fill(0, first, first + (next - at) / PAGE_BYTES);
      }
      at = next;
    }
  }

  /** Nothing may be asked any more. Once or more. */
  close(): void {
    this.#file.close();
  }

  #numberOf(image: ImageId, vaddr: number): number {
    const name = nameOf(image);
    let numbers = this.#images.get(name);
    if (numbers === undefined) {
      numbers = new Map();
      this.#images.set(name, numbers);
    }
    const index = Math.floor(vaddr / REGION_BYTES);
    let number = numbers.get(index);
    if (number === undefined) {
      number = this.#regions++;
      numbers.set(index, number);
    }
    return number;
  }
}

function nameOf({ kind, id }: ImageId): string {
  return `${kind} ${id}`;
}
