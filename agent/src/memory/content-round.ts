/**
 * One round of a pre-copy: reads the memory of all processes while they run, and sends the pages that differ in content
 * from what has been sent before. What the kernel knows not to have been written to (write-tracking.ts) is not read.
 *
 * A page that changes while it is read, or after, differs from its digest in the next round or in the final dump, and
 * is sent then: what is read here needs to be nothing in particular. So this works with any kernel, and costs the
 * application the processor time and memory bandwidth that reading takes, which is bounded.
 */
import { type ImageId, PAGE_BYTES, type PageSpan } from "../memory-image/page-range.ts";
import { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import { containerTasks, TaskMemory } from "./container-memory.ts";
import { addPages, type MemorySource } from "./add-pages.ts";
import { PageBatch } from "./page-batch.ts";
import { Pace } from "./pace.ts";
import type { Known } from "./page-judge.ts";
import type { WrittenSince } from "./write-tracking.ts";

/** Share of one processor that reading and judging take at most while the container runs. */
const BUSY_SHARE = 0.7;

export interface RoundSource {
  /** The container's cgroup, absolute. */
  readonly cgroup: string;
  /** Its init, on the host. */
  readonly initPid: number;
  readonly known: Known;
  /** Since the round before; null if the kernel does not note it. */
  readonly written: WrittenSince | null;
  readonly signal: AbortSignal;
}

/** A round on its way. */
export interface ContentRound {
  /** Chunks of the memory stream, each to be used before the next is asked for. Once. */
  readonly chunks: AsyncIterable<Buffer>;
  /** Pages seen so far. */
  readonly seenPages: number;
  /** Of them, those that were sent. */
  readonly sentPages: number;
  /** Of all, those of which it was told which one that was sent has their content. */
  readonly repeatedPages: number;
  /** Of all, those of which it was told what has changed, and how long that was, bytes. */
  readonly changedPages: number;
  readonly changeBytes: number;
  /** What went into reading and judging so far, and into resting from it, milliseconds. */
  readonly lookingMs: number;
}

export function contentRound(source: RoundSource): ContentRound {
  const batch = new PageBatch(new MemoryStreamEncoder(), source.known);
  const pace = new Pace(BUSY_SHARE);
  return {
    chunks: readAll(source, batch, pace),
    get seenPages() {
      return batch.seenPages;
    },
    get sentPages() {
      return batch.sentPages;
    },
    get repeatedPages() {
      return batch.repeatedPages;
    },
    get changedPages() {
      return batch.changedPages;
    },
    get changeBytes() {
      return batch.changeBytes;
    },
    get lookingMs() {
      return pace.totalMs;
    },
  };
}

async function* readAll(
  { cgroup, initPid, written, signal }: RoundSource,
  batch: PageBatch,
  pace: Pace,
): AsyncGenerator<Buffer> {
  const sharedSeen = new Set<number>();
  for (const task of await containerTasks(cgroup, initPid)) {
    const memory = await TaskMemory.open(task, cgroup);
    if (memory === null) continue;
    try {
      const own = {
        spans: memory.privateSpans(),
        read: memory.read.bind(memory),
        written: written?.of(memory) ?? null,
      };
      yield* readImage(memory.privateImage, own, batch, pace, signal);
      for (const { image, object } of memory.sharedObjects(sharedSeen)) {
        sharedSeen.add(image.id);
        const source = { spans: object.spans(), read: object.read.bind(object), written: null };
        yield* readImage(image, source, batch, pace, signal);
      }
    } finally {
      memory.close();
    }
  }
  yield* batch.end();
}

interface ImageSource extends MemorySource {
  readonly spans: Iterable<PageSpan>;
}

async function* readImage(
  image: ImageId,
  source: ImageSource,
  batch: PageBatch,
  pace: Pace,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  yield* batch.open(image);
  for (const { vaddr, pages } of source.spans) {
    for (let done = 0; done < pages; ) {
      signal.throwIfAborted();
      const added = pace.work(() => addPages(batch, vaddr + done * PAGE_BYTES, pages - done, source));
      // Gone, or not to be read by anybody: the rest is left to the next round, or to the final dump.
      done = added.isCut ? pages : done + added.pages;
      if (!batch.isFull) continue;
      pace.work(() => batch.judge());
      yield* batch.drain();
      await pace.turn(signal);
    }
  }
  yield* batch.drain();
}
