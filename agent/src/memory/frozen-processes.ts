/** The processes of a container that stands frozen, and their memory, read from outside. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { type ImageId, LAZY, PAGE_BYTES, type PageRange } from "../memory-image/page-range.ts";
import { addPages } from "./add-pages.ts";
import { openMemories } from "./container-memory.ts";
import type { NotedRanges } from "./noted-ranges.ts";
import type { PageBatch } from "./page-batch.ts";
import type { PageSet } from "./page-set.ts";
import type { WriteTracking } from "./write-tracking.ts";

export interface FrozenProcess {
  /** In the container. */
  readonly pid: number;
  /** Fills the space with the memory from this address on, and returns how many bytes it could, whole pages. */
  read(address: number, space: Buffer): number;
  /** Which of its pages were written to since the last round; null if that is not known. */
  readonly written: PageSet | null;
}

export interface FrozenProcesses {
  readonly all: readonly FrozenProcess[];
  close(): void;
}

export interface FrozenContainer {
  /** Its cgroup, absolute; frozen until the end. */
  readonly cgroup: string;
  /** Its init, on the host. */
  readonly initPid: number;
  /** What was written to since the last round is asked of it; null if the kernel does not note it. */
  readonly tracking: WriteTracking | null;
}

export async function openFrozenProcesses(container: FrozenContainer): Promise<FrozenProcesses> {
  const memories = await openMemories(container.cgroup, container.initPid);
  const written = container.tracking?.writtenOf(memories);
  return {
    all: memories.map((memory) => ({
      pid: memory.task.innerPid,
      read: (address: number, space: Buffer) => memory.read(address, space),
      written: written?.of(memory) ?? null,
    })),
    close: () => {
      for (const memory of memories) memory.close();
    },
  };
}

/** What an image of a process is to have. Those that are LAZY a restore may leave out and have brought later. */
export interface ImageOfProcess {
  readonly image: ImageId;
  readonly ranges: NotedRanges;
}

/** Reads these images into the batch. Throws INTERNAL if there is something that cannot be read. */
export async function* readImages(
  images: readonly ImageOfProcess[],
  open: () => Promise<FrozenProcesses>,
  batch: PageBatch,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const processes = await open();
  try {
    const byPid = new Map(processes.all.map((process) => [process.pid, process]));
    for (const { image, ranges } of images) {
      const process = byPid.get(image.id);
      if (process === undefined) throw new DrayError("INTERNAL", `process ${image.id} was dumped, and is not there`);
      yield* batch.open(image);
      for (const range of ranges.take()) yield* readRange(range, process, batch, signal);
      yield* batch.drain();
    }
  } finally {
    processes.close();
  }
}

function* readRange(
  { vaddr, pages, flags }: PageRange,
  process: FrozenProcess,
  batch: PageBatch,
  signal: AbortSignal,
): Generator<Buffer> {
  const isLazy = (flags & LAZY) !== 0;
  // CRIU dumps some memory of which the kernel notes no writes, and leaves none of it where it is.
  const written = isLazy ? process.written : null;
  const read = (address: number, space: Buffer) => process.read(address, space);
  for (let done = 0; done < pages; ) {
    signal.throwIfAborted();
    const address = vaddr + done * PAGE_BYTES;
    const added = addPages(batch, address, pages - done, { written, isLazy, read });
    if (added.isCut) {
      const page = (address + added.pages * PAGE_BYTES).toString(16);
      throw new DrayError("INTERNAL", `page ${page} of process ${process.pid}, which stands frozen, cannot be read`);
    }
    done += added.pages;
    if (batch.isFull) yield* batch.drain();
  }
}
