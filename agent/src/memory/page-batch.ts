/**
 * Judges pages and writes them into a memory stream, some at a time: those that have to be sent with their content,
 * runs of the others as PARENT ranges, joined over whatever pieces they came in.
 */
import { type ImageId, LAZY, PAGE_BYTES, PARENT, PRESENT } from "../memory-image/page-range.ts";
import type { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import type { ChangingPages } from "./changing-pages.ts";
import { type DigestTable, REGION_BYTES } from "./digest-table.ts";
import { DIGEST_BYTES } from "../native/addon.ts";
import { encodeDelta } from "../memory-image/page-delta.ts";
import type { PageSet } from "./page-set.ts";
import type { RepeatedPages } from "./repeated-pages.ts";

/** Fits the processor's cache: filled, judged and sent while it is there. */
export const BATCH_PAGES = 128;

/** What is known of pages that were sent, and the number of the round that is made now. */
export interface Known {
  readonly digests: DigestTable;
  readonly round: number;
  /** Finds pages with the content of others that go with the same stream; null where each has to have its own. */
  readonly repeated: RepeatedPages | null;
  /** What the last round has of pages that keep changing; null where each has to go whole. */
  readonly changing: ChangingPages | null;
}

/** What becomes of a page. */
const SAME = 0;
const SENT = 1;
const REPEATED = 2;
const CHANGED = 3;

interface Piece {
  readonly vaddr: number;
  readonly firstPage: number;
  readonly pages: number;
  /** Of the flags of its ranges: LAZY, or none. */
  readonly flags: number;
  /** The round before has it, which needs no look at its content: it has none here. */
  readonly isSame: boolean;
}

/** Of a batch that has no content yet, but might go on forever. */
const PIECE_LIMIT = 1024;

export class PageBatch {
  readonly #encoder: MemoryStreamEncoder;
  readonly #known: Known | null;
  readonly #window = Buffer.allocUnsafeSlow(BATCH_PAGES * PAGE_BYTES);
  readonly #verdicts = Buffer.alloc(BATCH_PAGES, SENT);
  /** Of pages that are REPEATED, the number of the one with their content. */
  readonly #repeats = new Uint32Array(BATCH_PAGES);
  /** Of pages that are CHANGED, how, in this order. */
  #changes: Buffer[] = [];
  #pieces: Piece[] = [];
  #judged = 0;
  #filledPages = 0;
  #image: ImageId | undefined;
  #same = { vaddr: 0, pages: 0, flags: 0 };
  /** Pages so far. */
  seenPages = 0;
  /** Of them, those that were sent. */
  sentPages = 0;
  /** Of all, those of which it was told which one that was sent has their content. */
  repeatedPages = 0;
  /** Of all, those of which it was told what has changed, and how long that was, bytes. */
  changedPages = 0;
  changeBytes = 0;

  /** Without anything known, all pages are sent. */
  constructor(encoder: MemoryStreamEncoder, known: Known | null) {
    this.#encoder = encoder;
    this.#known = known;
    known?.repeated?.begin();
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
    this.#pieces.push({ vaddr, firstPage: this.#filledPages, pages, flags: lazy ? LAZY : 0, isSame: false });
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
  addSame(vaddr: number, pages: number, lazy = false): void {
    this.#pieces.push({ vaddr, firstPage: 0, pages, flags: lazy ? LAZY : 0, isSame: true });
  }

  get isFull(): boolean {
    return this.#filledPages === BATCH_PAGES || this.#pieces.length >= PIECE_LIMIT;
  }

  /** Judges what was added since the last time. `drain` does it otherwise; apart from that, since it is work, and writing is waiting. */
  judge(): void {
    for (; this.#judged < this.#pieces.length; this.#judged++) {
      const { vaddr, firstPage, pages, isSame } = this.#pieces[this.#judged] as Piece;
      this.seenPages += pages;
      if (this.#known === null || this.#image === undefined) {
        this.sentPages += pages;
        continue;
      }
      const { digests, round } = this.#known;
      if (isSame) {
        digests.tell(this.#image, round, vaddr, pages);
        continue;
      }
      const verdicts = this.#verdicts.subarray(firstPage, firstPage + pages);
      const content = this.#window;
      const kept = this.#keptOf(this.#image, this.#known, vaddr, pages);
      this.sentPages += digests.compare(this.#image, round, vaddr, content, firstPage * PAGE_BYTES, pages, verdicts);
      this.#findRepeated(this.#image, this.#known, vaddr, firstPage, pages);
      this.#findChanged(this.#image, this.#known, vaddr, firstPage, pages, kept);
    }
  }

  /** Which of these pages the last round has as they are kept here: numbers from the first on. */
  #keptOf(image: ImageId, { digests, changing, round }: Known, vaddr: number, pages: number): Set<number> {
    const kept = new Set<number>();
    // Nothing is kept of the first round.
    if (changing === null || changing.isEmpty) return kept;
    for (let index = 0; index < pages; index++) {
      const address = vaddr + index * PAGE_BYTES;
      if (changing.find(image, address) !== undefined && digests.wasTold(image, round, address)) kept.add(index);
    }
    return kept;
  }

  #findChanged(
    image: ImageId,
    { changing, round }: Known,
    vaddr: number,
    firstPage: number,
    pages: number,
    kept: ReadonlySet<number>,
  ): void {
    if (changing === null || round === 0) return;
    for (let index = 0; index < pages; index++) {
      const page = firstPage + index;
      const verdict = this.#verdicts[page];
      if (verdict === SAME) continue;
      const address = vaddr + index * PAGE_BYTES;
      const at = page * PAGE_BYTES;
      const before = verdict === SENT && kept.has(index) ? changing.find(image, address) : undefined;
      const change = before && encodeDelta(before.content, before.offset, this.#window, at);
      changing.keep(image, address, this.#window, at);
      if (change === undefined || change === null) continue;
      this.#verdicts[page] = CHANGED;
      this.#changes.push(change);
      this.sentPages--;
      this.changedPages++;
      this.changeBytes += change.length;
    }
  }

  #findRepeated(image: ImageId, { digests, repeated }: Known, vaddr: number, firstPage: number, pages: number): void {
    if (repeated === null) return;
    const place = digests.digestAt(image, vaddr);
    for (let index = 0; index < pages; index++) {
      const page = firstPage + index;
      if (this.#verdicts[page] !== SENT) continue;
      const at = place.offset + index * DIGEST_BYTES;
      const number = repeated.take(this.#window, page * PAGE_BYTES, place.digests, at);
      if (number === undefined) continue;
      this.#verdicts[page] = REPEATED;
      this.#repeats[page] = number;
      this.sentPages--;
      this.repeatedPages++;
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

  *#write({ vaddr, firstPage, pages, flags, isSame }: Piece): Generator<Buffer> {
    if (isSame) {
      yield* this.#skip(vaddr, pages, flags);
      return;
    }
    const verdicts = this.#verdicts;
    for (let from = firstPage; from < firstPage + pages; ) {
      let to = from + 1;
      while (to < firstPage + pages && this.#continues(from, to)) to++;
      const at = vaddr + (from - firstPage) * PAGE_BYTES;
      if (verdicts[from] === SAME) yield* this.#skip(at, to - from, flags);
      else if (verdicts[from] === REPEATED) {
        yield* this.#writeSame();
        yield* this.#encoder.repeat(at, to - from, PRESENT | flags, this.#repeats[from] as number);
      } else if (verdicts[from] === CHANGED) {
        yield* this.#writeSame();
        for (let page = from; page < to; page++) {
          const change = this.#changes.shift() as Buffer;
          yield* this.#encoder.delta(vaddr + (page - firstPage) * PAGE_BYTES, PRESENT | flags, change);
        }
      } else {
        yield* this.#writeSame();
        const content = this.#window.subarray(from * PAGE_BYTES, to * PAGE_BYTES);
        yield* this.#encoder.range(at, to - from, PRESENT | flags, content);
      }
      from = to;
    }
  }

  /** Whether one of the pages behind `from` goes into the same range. */
  #continues(from: number, page: number): boolean {
    if (this.#verdicts[page] !== this.#verdicts[from]) return false;
    return this.#verdicts[from] !== REPEATED || this.#repeats[page] === (this.#repeats[from] as number) + page - from;
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
