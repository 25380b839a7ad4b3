/**
 * What is known of pages that have been sent: the digest of each, by image and address. In rounds: a page that is the
 * same as in the round before need not be sent again, if that round has told of it, since the images of a round refer
 * to those of the round before.
 */
import { randomFillSync } from "node:crypto";
import { type ImageId, PAGE_BYTES } from "../memory-image/page-range.ts";
import type { PageSet } from "./page-set.ts";
import { DIGEST_BYTES, DIGEST_KEY_BYTES, addon } from "../native/addon.ts";

/** Pages whose digests lie together. */
export const REGION_PAGES = 512;
export const REGION_BYTES = REGION_PAGES * PAGE_BYTES;
const REGIONS_AT_A_TIME = 64;

interface Region {
  readonly digests: Buffer;
  readonly offset: number;
  /** Of each page, one more than the last round that has told of it; 0 for none. */
  readonly toldIn: Uint8Array;
}

export class DigestTable {
  /** Rounds that can be told apart. */
  static readonly MOST_ROUNDS = 254;
  readonly #key = Buffer.allocUnsafeSlow(DIGEST_KEY_BYTES);
  readonly #images = new Map<string, Map<number, Region>>();
  #block: Buffer | undefined;
  #blockFill = 0;

  constructor() {
    randomFillSync(this.#key);
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
    const region = this.#region(image, Math.floor(vaddr / REGION_BYTES));
    const first = (vaddr % REGION_BYTES) / PAGE_BYTES;
    if (first + pages > REGION_PAGES) throw new RangeError("pages of more than one region");
    const { digests, toldIn } = region;
    let toSend = addon().compare(
      content,
      offset,
      pages,
      this.#key,
      digests,
      region.offset + first * DIGEST_BYTES,
      verdicts,
      0,
    );
    for (let page = 0; page < pages; page++) {
      if (verdicts[page] === 0 && toldIn[first + page] !== round) {
        verdicts[page] = 1;
        toSend++;
      }
      toldIn[first + page] = round + 1;
    }
    return toSend;
  }

  /** Whether the round before has told of this page. To be asked before `compare` is. */
  wasTold(image: ImageId, round: number, vaddr: number): boolean {
    const { toldIn } = this.#region(image, Math.floor(vaddr / REGION_BYTES));
    return toldIn[(vaddr % REGION_BYTES) / PAGE_BYTES] === round;
  }

  /** Where the digest of this page is; those of the pages behind it, in its region, follow. As `compare` has left it. */
  digestAt(image: ImageId, vaddr: number): { readonly digests: Buffer; readonly offset: number } {
    const { digests, offset } = this.#region(image, Math.floor(vaddr / REGION_BYTES));
    return { digests, offset: offset + ((vaddr % REGION_BYTES) / PAGE_BYTES) * DIGEST_BYTES };
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
    const { toldIn } = this.#region(image, Math.floor(vaddr / REGION_BYTES));
    const first = (vaddr % REGION_BYTES) / PAGE_BYTES;
    const end = Math.min(pages, REGION_PAGES - first);
    const isSameAt = (page: number) => toldIn[first + page] === round && !written.has(vaddr + page * PAGE_BYTES);
    const isSame = isSameAt(0);
    let run = 1;
    while (run < end && isSameAt(run) === isSame) run++;
    return { pages: run, isSame };
  }

  /** Remembers pages of one region as told of in this round, too: they are what they were in the round before. */
  tell(image: ImageId, round: number, vaddr: number, pages: number): void {
    const first = (vaddr % REGION_BYTES) / PAGE_BYTES;
    this.#region(image, Math.floor(vaddr / REGION_BYTES)).toldIn.fill(round + 1, first, first + pages);
  }

  #region(image: ImageId, index: number): Region {
    const name = `${image.kind} ${image.id}`;
    let regions = this.#images.get(name);
    if (regions === undefined) {
      regions = new Map();
      this.#images.set(name, regions);
    }
    let region = regions.get(index);
    if (region === undefined) {
      region = this.#newRegion();
      regions.set(index, region);
    }
    return region;
  }

  #newRegion(): Region {
    const bytes = REGION_PAGES * DIGEST_BYTES;
    if (this.#block === undefined || this.#blockFill === this.#block.length) {
      this.#block = Buffer.alloc(REGIONS_AT_A_TIME * bytes);
      this.#blockFill = 0;
    }
    const offset = this.#blockFill;
    this.#blockFill += bytes;
    return { digests: this.#block, offset, toldIn: new Uint8Array(REGION_PAGES) };
  }
}
