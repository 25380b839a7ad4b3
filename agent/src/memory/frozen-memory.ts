/**
 * All memory of a container that stands frozen and has been dumped without its private memory (`lazy-pages`): what the
 * dump has put into its images comes from there, what it has left where it is from the processes themselves. CRIU's own
 * ways out of the process, into a file or to a page server, copy every page once more, one process at a time. What the
 * dump has left where it is stays marked: a restore may leave it out once more.
 *
 * Or, for a copy that is to fetch its private memory: some of the images, and what the dump has not put there is only
 * told of.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { type MemoryImage, MemoryImageReader } from "../memory-image/memory-image-reader.ts";
import { type ImageId, LAZY, PAGE_BYTES, type PageRange, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import { openMemories, type TaskMemory } from "./container-memory.ts";
import { addPages, type MemorySource } from "./add-pages.ts";
import { PageBatch } from "./page-batch.ts";
import type { Known } from "./page-judge.ts";
import type { PageSet } from "./page-set.ts";
import type { WriteTracking } from "./write-tracking.ts";

export interface FrozenSource {
  /** CRIU's images. */
  readonly imageDirectory: string;
  /** Of these, those that go; null for all. */
  readonly images: readonly ImageId[] | null;
  /** Pages that its last round has are told without their content; null if there was none. */
  readonly known: Known | null;
  /** Where the dump has left the rest; null if that stays there, and is only told of. */
  readonly processes: FrozenProcesses | null;
  readonly signal: AbortSignal;
}

export interface FrozenProcesses {
  /** The container's cgroup, absolute; frozen until the end. */
  readonly cgroup: string;
  /** Its init, on the host. */
  readonly initPid: number;
  /** What was written to since the last round is asked of it; null if the kernel does not note it. */
  readonly tracking: WriteTracking | null;
}

export interface FrozenMemory {
  /** Chunks of the memory stream, each to be used before the next is asked for. Once. */
  readonly chunks: AsyncIterable<Buffer>;
  /** Pages so far, but for those that stay where they are. */
  readonly seenPages: number;
  /** Of them, those that were sent. */
  readonly sentPages: number;
  /** Of all, those that had changed since they were sent, whole or in part, or have the content of another. */
  readonly dirtyPages: number;
  /** Of them, those that had changed in part, and what was told of these, bytes. */
  readonly changedPages: number;
  readonly changeBytes: number;
}

export function frozenMemory(source: FrozenSource): FrozenMemory {
  const batch = new PageBatch(new MemoryStreamEncoder(), source.known);
  return memoryOf(batch, readAll(source, batch));
}

/** What goes through this batch, as these chunks. */
export function memoryOf(batch: PageBatch, chunks: AsyncIterable<Buffer>): FrozenMemory {
  return {
    chunks,
    get seenPages() {
      return batch.seenPages;
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
  };
}

async function* readAll(source: FrozenSource, batch: PageBatch): AsyncGenerator<Buffer> {
  const { imageDirectory, processes, signal } = source;
  const memories = processes === null ? [] : await openMemories(processes.cgroup, processes.initPid);
  try {
    const written = processes?.tracking?.writtenOf(memories);
    const byPid = new Map(memories.map((memory) => [memory.task.innerPid, memory]));
    const reader = await MemoryImageReader.open(imageDirectory);
    for (const id of source.images ?? (await reader.images())) {
      const memory = id.kind === "task" ? byPid.get(id.id) : undefined;
      const own = memory === undefined ? null : (written?.of(memory) ?? null);
      const image = await reader.load(id);
      try {
        yield* batch.open(id);
        const left = processes && { memory, written: own };
        for (const range of image.ranges) yield* readRange(range, image, left, batch, signal);
        yield* batch.drain();
      } finally {
        await image.close();
      }
    }
    yield* batch.end();
  } finally {
    for (const memory of memories) memory.close();
  }
}

/** Of a process, where the dump has left its pages, if they are to go. */
interface Left {
  readonly memory: TaskMemory | undefined;
  readonly written: PageSet | null;
}

async function* readRange(
  { vaddr, pages, flags }: PageRange,
  image: MemoryImage,
  left: Left | null,
  batch: PageBatch,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const isInImage = (flags & PRESENT) !== 0;
  const isLazy = (flags & LAZY) !== 0;
  if (left === null && !isInImage) {
    yield* batch.range(vaddr, pages, flags);
    return;
  }
  const source: MemorySource = {
    written: left?.written ?? null,
    isLazy,
    read: (address, space) => left?.memory?.read(address, space) ?? 0,
  };
  for (let done = 0; done < pages; ) {
    signal.throwIfAborted();
    const address = vaddr + done * PAGE_BYTES;
    if (isInImage) {
      const space = batch.space(address, pages - done);
      await image.read(address, space);
      batch.add(address, space.length / PAGE_BYTES, isLazy);
      done += space.length / PAGE_BYTES;
    } else {
      const added = addPages(batch, address, pages - done, source);
      if (added.isCut) {
        throw new DrayError("INTERNAL", `memory at ${address.toString(16)} of a frozen process cannot be read`);
      }
      done += added.pages;
    }
    if (batch.isFull) yield* batch.drain();
  }
}
