/**
 * All memory of a frozen container as CRIU brings it while it dumps: from the page server straight to the peer, without
 * a file in between. For containers of which CRIU would write most into its images otherwise; private memory alone is
 * read faster from the processes themselves (frozen-memory.ts).
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { type ImageId, PAGE_BYTES, type PageRange, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import type { PageSink } from "../page-server/page-server.ts";
import { type FrozenMemory, memoryOf } from "./frozen-memory.ts";
import { Handoff } from "./handoff.ts";
import { PageBatch } from "./page-batch.ts";
import type { Known } from "./page-judge.ts";

export interface DumpedMemory {
  /** For the page server. It holds CRIU back as long as nobody asks for the next chunk. */
  readonly sink: PageSink;
  readonly memory: FrozenMemory;
  /** The dump has failed, or will never come: whoever asks for chunks is told so. */
  fail(error: unknown): void;
}

/** Pages that the last round has (`known`) are told without their content; null if there was none. */
export function dumpedMemory(known: Known | null): DumpedMemory {
  const batch = new PageBatch(new MemoryStreamEncoder(), known);
  const chunks = new Handoff<Buffer>();
  return {
    sink: new BatchSink(batch, chunks),
    memory: memoryOf(batch, chunks.taken()),
    fail: (error) => chunks.fail(error),
  };
}

/** Brings what comes in pieces of any size into a batch, whole pages at a time. */
class BatchSink implements PageSink {
  readonly #batch: PageBatch;
  readonly #chunks: Handoff<Buffer>;
  /** What has come since the last flush, in its order. */
  #arrived: (PageRange | Buffer)[] = [];
  /** What is missing of the last range. */
  #vaddr = 0;
  #pages = 0;
  #flags = 0;
  /** Where its next pages go, and how far that is filled; undefined if that is not decided yet. */
  #space: Buffer | undefined;
  #filled = 0;

  constructor(batch: PageBatch, chunks: Handoff<Buffer>) {
    this.#batch = batch;
    this.#chunks = chunks;
  }

  /** There are no parents for CRIU: what the peer has already is judged here. */
  parentHas(): boolean {
    return false;
  }

  async open(image: ImageId): Promise<boolean> {
    await this.flush();
    await this.#send(this.#batch.open(image));
    return false;
  }

  entry(range: PageRange): void {
    if ((range.flags & PRESENT) === 0) throw new DrayError("CORRUPT_STREAM", "CRIU's dump leaves out pages");
    this.#arrived.push(range);
  }

  data(bytes: Buffer): void {
    this.#arrived.push(bytes);
  }

  async flush(): Promise<void> {
    const arrived = this.#arrived;
    this.#arrived = [];
    for (const one of arrived) {
      if (Buffer.isBuffer(one)) await this.#fill(one);
      else {
        this.#vaddr = one.vaddr;
        this.#pages = one.pages;
        this.#flags = one.flags & ~PRESENT;
      }
    }
  }

  async close(): Promise<void> {
    await this.flush();
    await this.#send(this.#batch.end());
    this.#chunks.end();
  }

  async #fill(bytes: Buffer): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      this.#space ??= this.#batch.space(this.#vaddr, this.#pages);
      const copied = bytes.copy(this.#space, this.#filled, done);
      done += copied;
      this.#filled += copied;
      if (this.#filled === this.#space.length) await this.#add(this.#space.length / PAGE_BYTES);
    }
  }

  async #add(pages: number): Promise<void> {
    this.#batch.add(this.#vaddr, pages, this.#flags !== 0);
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
