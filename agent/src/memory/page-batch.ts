/** Pages on their way into a memory stream, some at a time: they are added, then judged, then written. */
import { type ImageId, LAZY, PAGE_BYTES } from "../memory-image/page-range.ts";
import type { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import { REGION_BYTES } from "./digest-table.ts";
import { type Known, PageJudge } from "./page-judge.ts";
import type { PageSet } from "./page-set.ts";
import { BATCH_PAGES, PageWindow, type Piece } from "./page-window.ts";
import { PieceWriter } from "./piece-writer.ts";

/** Of a batch that has no content yet, but might go on forever. */
const PIECE_LIMIT = 1024;

export interface AddOptions {
  /** A restore may leave them out and have them brought later. */
  readonly isLazy?: boolean;
  /** They go with their content even if the last round has it. */
  readonly isWhole?: boolean;
}

export class PageBatch {
  readonly #known: Known | null;
  readonly #window = new PageWindow();
  readonly #judge: PageJudge | null;
  readonly #writer: PieceWriter;
  #pieces: Piece[] = [];
  #judged = 0;
  #filledPages = 0;
  #image: ImageId | undefined;
  /** Pages that were added so far. */
  seenPages = 0;

  /** Without anything known, all pages are sent. */
  constructor(encoder: MemoryStreamEncoder, known: Known | null) {
    this.#known = known;
    this.#judge = known && new PageJudge(this.#window, known);
    this.#writer = new PieceWriter(encoder, this.#window);
  }

  /** Of them, those that were sent. */
  get sentPages(): number {
    return this.#judge?.sentPages ?? this.seenPages;
  }

  /** Of all, those of which it was told which one that was sent has their content. */
  get repeatedPages(): number {
    return this.#judge?.repeatedPages ?? 0;
  }

  /** Of all, those of which it was told what has changed. */
  get changedPages(): number {
    return this.#judge?.changedPages ?? 0;
  }

  /** How long that was, bytes. */
  get changeBytes(): number {
    return this.#judge?.changeBytes ?? 0;
  }

  /** What is added from now on belongs to this image. */
  *open(image: ImageId): Generator<Buffer> {
    yield* this.drain();
    this.#image = image;
    yield* this.#writer.open(image);
  }

  /** Where the content of the pages from `vaddr` on goes: as many of them as can be added together, none if it is full. */
  space(vaddr: number, pages: number): Buffer {
    const toRegionEnd = (REGION_BYTES - (vaddr % REGION_BYTES)) / PAGE_BYTES;
    const fitting = Math.min(pages, BATCH_PAGES - this.#filledPages, toRegionEnd);
    const from = this.#filledPages * PAGE_BYTES;
    return this.#window.content.subarray(from, from + fitting * PAGE_BYTES);
  }

  /** The first pages of the space have been filled. */
  add(vaddr: number, pages: number, { isLazy = false, isWhole = false }: AddOptions = {}): void {
    if (pages === 0) return;
    const flags = isLazy ? LAZY : 0;
    this.#pieces.push({ vaddr, firstPage: this.#filledPages, pages, flags, isSame: false, isWhole });
    this.#filledPages += pages;
  }

  /**
   * What comes next of a range: `isSame` if these pages are as the last round has them, by what the kernel has noted of
   * writes; they are added by `addSame`. Otherwise they are to be read. Nothing is known where `written` is null.
   */
  next(vaddr: number, pages: number, written: PageSet | null): { readonly pages: number; readonly isSame: boolean } {
    if (this.#known === null || this.#image === undefined || written === null) return { pages, isSame: false };
    return this.#known.digests.runFrom(this.#image, this.#known.round, vaddr, pages, written);
  }

  /** Pages of which `next` says that they are the same. */
  addSame(vaddr: number, pages: number, { isLazy = false }: Pick<AddOptions, "isLazy"> = {}): void {
    this.#pieces.push({ vaddr, firstPage: 0, pages, flags: isLazy ? LAZY : 0, isSame: true, isWhole: false });
  }

  get isFull(): boolean {
    return this.#filledPages === BATCH_PAGES || this.#pieces.length >= PIECE_LIMIT;
  }

  /** Judges what was added since the last time. `drain` does it otherwise; apart from that, since it is work, and writing is waiting. */
  judge(): void {
    for (; this.#judged < this.#pieces.length; this.#judged++) {
      const piece = this.#pieces[this.#judged] as Piece;
      this.seenPages += piece.pages;
      if (this.#judge !== null && this.#image !== undefined) this.#judge.judge(this.#image, piece);
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
    for (const piece of pieces) yield* this.#writer.write(piece);
    this.#window.clear();
    yield* this.#writer.flush();
  }

  /** Writes all that was added, and holds no run back that might go on. */
  *settle(): Generator<Buffer> {
    yield* this.drain();
    yield* this.#writer.settle();
  }

  /** A range of the open image without content. */
  *range(vaddr: number, pages: number, flags: number): Generator<Buffer> {
    yield* this.drain();
    yield* this.#writer.range(vaddr, pages, flags);
  }

  /** The end of the stream. */
  *end(): Generator<Buffer> {
    yield* this.drain();
    yield* this.#writer.end();
  }
}
