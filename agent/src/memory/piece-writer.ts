/**
 * Writes pieces of images into a memory stream, each page as its fate is; runs of pages that the round before has are
 * PARENT ranges, joined over whatever pieces they came in.
 */
import { type ImageId, PAGE_BYTES, PARENT, PRESENT } from "../memory-image/page-range.ts";
import type { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import { CHANGED, type PageWindow, type Piece, REPEATED, SAME } from "./page-window.ts";

export class PieceWriter {
  readonly #encoder: MemoryStreamEncoder;
  readonly #window: PageWindow;
  /** A run that may go on. */
  #same = { vaddr: 0, pages: 0, flags: 0 };

  constructor(encoder: MemoryStreamEncoder, window: PageWindow) {
    this.#encoder = encoder;
    this.#window = window;
  }

  /** What is written from now on belongs to this image. */
  *open(image: ImageId): Generator<Buffer> {
    yield* this.#writeSame();
    yield* this.#encoder.open(image);
  }

  *write({ vaddr, firstPage, pages, flags, isSame }: Piece): Generator<Buffer> {
    if (isSame) {
      yield* this.#skip(vaddr, pages, flags);
      return;
    }
    const window = this.#window;
    const end = firstPage + pages;
    for (let from = firstPage; from < end; ) {
      const run = window.runFrom(from, end);
      const at = vaddr + (from - firstPage) * PAGE_BYTES;
      const fate = window.fates[from];
      if (fate === SAME) yield* this.#skip(at, run, flags);
      else {
        yield* this.#writeSame();
        if (fate === REPEATED) yield* this.#encoder.repeat(at, run, PRESENT | flags, window.repeatedBy(from));
        else if (fate === CHANGED) {
          for (let page = 0; page < run; page++) {
            yield* this.#encoder.delta(at + page * PAGE_BYTES, PRESENT | flags, window.changeOf(from + page));
          }
        } else {
          const content = window.content.subarray(from * PAGE_BYTES, (from + run) * PAGE_BYTES);
          yield* this.#encoder.range(at, run, PRESENT | flags, content);
        }
      }
      from += run;
    }
  }

  /** What was written goes on its way, but for a run that may go on. The window may be filled anew. */
  *flush(): Generator<Buffer> {
    yield* this.#encoder.flush();
  }

  /** All that was written goes on its way. */
  *settle(): Generator<Buffer> {
    yield* this.#writeSame();
    yield* this.#encoder.flush();
  }

  /** A range of the open image without content. */
  *range(vaddr: number, pages: number, flags: number): Generator<Buffer> {
    yield* this.#writeSame();
    yield* this.#encoder.range(vaddr, pages, flags);
  }

  /** The end of the stream. */
  *end(): Generator<Buffer> {
    yield* this.#writeSame();
    yield* this.#encoder.end();
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
