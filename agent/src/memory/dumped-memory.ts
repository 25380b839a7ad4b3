/**
 * The memory of a frozen container, from its dump straight to the peer: no file of it is written here.
 *
 * ```
 *                             shared memory              memory of a process
 *  the copy will fetch it     as CRIU brings it          as CRIU brings it; what CRIU leaves there is told of
 *  it goes in the switch      as CRIU brings it          from the process itself, when the dump is over
 * ```
 *
 * CRIU leaves private memory where it is, but for little: pages with a stack, locked memory. To have it bring all would
 * copy every page once more, one process at a time. And an image goes in one piece, by ascending addresses, while a
 * process on which CRIU is at work cannot be read: CRIU writes code of its own into it, and takes it back. So all of its
 * image waits until the dump is over, and what CRIU has brought of it is dropped: it is still there.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { type ImageId, LAZY, PAGE_BYTES, type PageRange, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import type { PageSink } from "../page-server/page-server.ts";
import { type FrozenProcesses, type ImageOfProcess, readImages } from "./frozen-processes.ts";
import { Handoff } from "./handoff.ts";
import { NotedRanges } from "./noted-ranges.ts";
import { PageBatch } from "./page-batch.ts";
import type { Known } from "./page-judge.ts";

/**
 * So much of each process goes whole in a post-copy, whatever the last round has, 1 MiB: a little there is of every one,
 * and if one page of an image is in the rounds before, CRIU has to look through all of these for it.
 */
const WHOLE_PAGES = 256;

export interface DumpedMemoryOptions {
  /** Pages that the last round has are told without their content; null if there was none. */
  readonly known: Known | null;
  /** To read them; null if what CRIU leaves there is to stay there. */
  readonly processes: (() => Promise<FrozenProcesses>) | null;
  readonly signal: AbortSignal;
}

/** What the switch has of memory so far. */
export interface SwitchedMemory {
  /** Chunks of the memory stream, each to be used before the next is asked for. Once. */
  readonly chunks: AsyncIterable<Buffer>;
  /** Pages, but for those that stay where they are. */
  readonly seenPages: number;
  /** Those that stay. */
  readonly leftPages: number;
  /** Of those that were seen, those that were sent. */
  readonly sentPages: number;
  /** And those that had changed since they were sent, whole or in part, or have the content of another. */
  readonly dirtyPages: number;
  /** Of them, those that had changed in part, and what was told of these, bytes. */
  readonly changedPages: number;
  readonly changeBytes: number;
}

export interface DumpedMemory {
  /** For the page server. It holds CRIU back as long as nobody asks for the next chunk. */
  readonly sink: PageSink;
  readonly memory: SwitchedMemory;
  /** The dump has gone well, and nobody is at work in the processes any more. */
  complete(): void;
  /** The dump has failed, or will never come: whoever asks for chunks is told so, if there are more. */
  fail(error: unknown): void;
}

export function dumpedMemory({ known, processes, signal }: DumpedMemoryOptions): DumpedMemory {
  const batch = new PageBatch(new MemoryStreamEncoder(), known);
  const brought = new Handoff<Buffer>();
  const sink = new BatchSink(batch, brought, { processesWait: processes !== null });
  const over = Promise.withResolvers<void>();
  // Whoever asks for chunks may not have come so far.
  over.promise.catch(() => undefined);
  async function* chunks(): AsyncGenerator<Buffer> {
    yield* brought.taken();
    await over.promise;
    if (processes !== null) yield* readImages(sink.waiting, processes, batch, signal);
    yield* batch.end();
  }
  return {
    sink,
    memory: {
      chunks: chunks(),
      get seenPages() {
        return batch.seenPages;
      },
      get leftPages() {
        return sink.leftPages;
      },
      get sentPages() {
        return batch.sentPages;
      },
      get dirtyPages() {
        return batch.sentPages + batch.repeatedPages + batch.changedPages;
      },
      get changedPages() {
        return batch.changedPages;
      },
      get changeBytes() {
        return batch.changeBytes;
      },
    },
    complete: () => {
      // Nothing if CRIU has closed.
      brought.fail(new DrayError("CRIU_DUMP_FAILED", "CRIU has dumped without bringing the memory"));
      over.resolve();
    },
    fail: (error) => {
      brought.fail(error);
      over.reject(error);
    },
  };
}

/** Brings what comes in pieces of any size into a batch, whole pages at a time. */
class BatchSink implements PageSink {
  readonly #batch: PageBatch;
  readonly #chunks: Handoff<Buffer>;
  readonly #processesWait: boolean;
  /** Images that are to be read from their processes when the dump is over. */
  readonly waiting: ImageOfProcess[] = [];
  /** Pages that CRIU has left where they stay. */
  leftPages = 0;
  /** The ranges of the open image, if it waits. */
  #ranges: NotedRanges | undefined;
  /** Pages of the open image that go whole, whatever is known of them. */
  #wholePages = 0;
  /** What has come since the last flush, in its order. */
  #arrived: (PageRange | Buffer)[] = [];
  /** What is missing of the last range. */
  #vaddr = 0;
  #pages = 0;
  /** Where its next pages go, and how far that is filled; undefined if that is not decided yet. */
  #space: Buffer | undefined;
  #filled = 0;

  constructor(batch: PageBatch, chunks: Handoff<Buffer>, { processesWait }: { readonly processesWait: boolean }) {
    this.#batch = batch;
    this.#chunks = chunks;
    this.#processesWait = processesWait;
  }

  /** There are no parents for CRIU: what the peer has already is judged here. */
  parentHas(): boolean {
    return false;
  }

  async open(image: ImageId): Promise<boolean> {
    await this.flush();
    this.#ranges = undefined;
    if (image.kind === "task" && this.#processesWait) {
      this.#ranges = new NotedRanges();
      this.waiting.push({ image, ranges: this.#ranges });
    } else {
      this.#wholePages = image.kind === "task" ? WHOLE_PAGES : 0;
      await this.#send(this.#batch.open(image));
    }
    return false;
  }

  entry(range: PageRange): void {
    if ((range.flags & (PRESENT | LAZY)) === 0) throw new DrayError("CORRUPT_STREAM", "CRIU's dump leaves out pages");
    if (this.#ranges === undefined) this.#arrived.push(range);
    else this.#ranges.push(range);
  }

  data(bytes: Buffer): void {
    if (this.#ranges === undefined) this.#arrived.push(bytes);
  }

  async flush(): Promise<void> {
    const arrived = this.#arrived;
    this.#arrived = [];
    for (const one of arrived) {
      if (Buffer.isBuffer(one)) await this.#fill(one);
      else await this.#begin(one);
    }
  }

  async close(): Promise<void> {
    await this.flush();
    await this.#send(this.#batch.settle());
    this.#chunks.end();
  }

  async #begin({ vaddr, pages, flags }: PageRange): Promise<void> {
    this.#vaddr = vaddr;
    this.#pages = pages;
    if ((flags & PRESENT) !== 0) return;
    this.leftPages += pages;
    await this.#send(this.#batch.range(vaddr, pages, flags));
  }

  async #fill(bytes: Buffer): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      this.#space ??= this.#batch.space(this.#vaddr, Math.min(this.#pages, this.#wholePages || Infinity));
      const copied = bytes.copy(this.#space, this.#filled, done);
      done += copied;
      this.#filled += copied;
      if (this.#filled === this.#space.length) await this.#add(this.#space.length / PAGE_BYTES);
    }
  }

  async #add(pages: number): Promise<void> {
    const isWhole = this.#wholePages > 0;
    if (isWhole) this.#wholePages -= pages;
    this.#batch.add(this.#vaddr, pages, { isWhole });
    this.#vaddr += pages * PAGE_BYTES;
    this.#pages -= pages;
    this.#space = undefined;
    this.#filled = 0;
    if (this.#batch.isFull) await this.#send(this.#batch.drain());
  }

  async #send(chunks: Iterable<Buffer>): Promise<void> {
    for (const chunk of chunks) await this.#chunks.put(chunk);
  }
}
