/**
 * Judges pages and writes them into a memory stream, some at a time: those that have to be sent with their content,
 * runs of the others as PARENT ranges, joined over whatever pieces they came in.
 */
import { type ImageId, LAZY, PAGE_BYTES, PARENT, PRESENT } from "../memory-image/page-range.ts";
import type { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import { type DigestTable, REGION_BYTES } from "./digest-table.ts";

/** Fits the processor's cache: filled, judged and sent while it is there. */
export const BATCH_PAGES = 128;

/** What is known of pages that were sent, and the number of the round that is made now. */
export interface Known {
  readonly digests: DigestTable;
  readonly round: number;
}

interface Piece {
  readonly vaddr: number;
  readonly firstPage: number;
  readonly pages: number;
  /** Of the flags of its ranges: LAZY, or none. */
  readonly flags: number;
}

export class PageBatch {
  readonly #encoder: MemoryStreamEncoder;
  readonly #known: Known | null;
  readonly #window = Buffer.allocUnsafeSlow(BATCH_PAGES * PAGE_BYTES);
  readonly #verdicts = Buffer.alloc(BATCH_PAGES, 1);
  #pieces: Piece[] = [];
  #judged = 0;
  #filledPages = 0;
  #image: ImageId | undefined;
  #same = { vaddr: 0, pages: 0, flags: 0 };
  /** Pages so far. */
  seenPages = 0;
  /** Of them, those that were sent. */
  sentPages = 0;

  /** Without anything known, all pages are sent. */
  constructor(encoder: MemoryStreamEncoder, known: Known | null) {
    this.#encoder = encoder;
    this.#known = known;
  }

  /** What is added from now on belongs to this image. */
  *open(image: ImageId): Generator<Buffer> {
    yield* this.drain();
    yield* this.#writeSame();
    this.#image = image;
    yield* this.#encoder.open(image);
  }

  /** Where the content of the pages from `vaddr` on goes: as many of them as can be added together, none if it is full. */
  space(vaddr: number, pages: number): Buffer {
    const toRegionEnd = (REGION_BYTES - (vaddr % REGION_BYTES)) / PAGE_BYTES;
    const fitting = Math.min(pages, BATCH_PAGES - this.#filledPages, toRegionEnd);
    const from = this.#filledPages * PAGE_BYTES;
    return this.#window.subarray(from, from + fitting * PAGE_BYTES);
  }

  /** The first pages of the space have been filled. `lazy`: a restore may leave them out and have them brought later. */
  add(vaddr: number, pages: number, lazy = false): void {
    if (pages === 0) return;
    this.#pieces.push({ vaddr, firstPage: this.#filledPages, pages, flags: lazy ? LAZY : 0 });
    this.#filledPages += pages;
  }

  get isFull(): boolean {
    return this.#filledPages === BATCH_PAGES;
  }

  /** Judges what was added since the last time. `drain` does it otherwise; apart from that, since it is work, and writing is waiting. */
  judge(): void {
    for (; this.#judged < this.#pieces.length; this.#judged++) {
      const { vaddr, firstPage, pages } = this.#pieces[this.#judged] as Piece;
      this.seenPages += pages;
      if (this.#known === null || this.#image === undefined) {
        this.sentPages += pages;
        continue;
      }
      const { digests, round } = this.#known;
      const verdicts = this.#verdicts.subarray(firstPage, firstPage + pages);
      const content = this.#window;
      this.sentPages += digests.compare(this.#image, round, vaddr, content, firstPage * PAGE_BYTES, pages, verdicts);
    }
  }

  /** Writes all that was added. The chunks are to be used before the next call. */
  *drain(): Generator<Buffer> {
    this.judge();
    const pieces = this.#pieces;
    if (pieces.length === 0) return;
    this.#pieces = [];
    this.#judged = 0;
    this.#filledPages = 0;
    for (const piece of pieces) yield* this.#write(piece);
    yield* this.#encoder.flush();
  }

  /** Writes all that was added, and holds no run back that might go on. */
  *settle(): Generator<Buffer> {
    yield* this.drain();
    yield* this.#writeSame();
    yield* this.#encoder.flush();
  }

  /** A range of the open image without content. */
  *range(vaddr: number, pages: number, flags: number): Generator<Buffer> {
    yield* this.drain();
    yield* this.#writeSame();
    yield* this.#encoder.range(vaddr, pages, flags);
  }

  /** The end of the stream. */
  *end(): Generator<Buffer> {
    yield* this.drain();
    yield* this.#writeSame();
    yield* this.#encoder.end();
  }

  *#write({ vaddr, firstPage, pages, flags }: Piece): Generator<Buffer> {
    const verdicts = this.#verdicts;
    for (let from = firstPage; from < firstPage + pages; ) {
      let to = from + 1;
      while (to < firstPage + pages && verdicts[to] === verdicts[from]) to++;
      const at = vaddr + (from - firstPage) * PAGE_BYTES;
      if (verdicts[from] === 0) yield* this.#skip(at, to - from, flags);
      else {
        yield* this.#writeSame();
        const content = this.#window.subarray(from * PAGE_BYTES, to * PAGE_BYTES);
        yield* this.#encoder.range(at, to - from, PRESENT | flags, content);
      }
      from = to;
    }
  }

  *#skip(vaddr: number, pages: number, flags: number): Generator<Buffer> {
    const { vaddr: first, pages: before } = this.#same;
    if (before > 0 && first + before * PAGE_BYTES === vaddr && flags === this.#same.flags) {
      this.#same = { vaddr: first, pages: before + pages, flags };
      return;
    }
    yield* this.#writeSame();
    this.#same = { vaddr, pages, flags };
  }

  *#writeSame(): Generator<Buffer> {
    const { vaddr, pages, flags } = this.#same;
    if (pages === 0) return;
    this.#same = { vaddr: 0, pages: 0, flags: 0 };
    yield* this.#encoder.range(vaddr, pages, PARENT | flags);
  }
}
