/**
 * Spares the reading of pages that nobody has written to, where the kernel notes writes (soft-dirty;
 * Documentation/admin-guide/mm/soft-dirty.rst of Linux, `criu check --feature mem_dirty_track`).
 *
 * ```
 *  round    stands still: ask what was written to, have it forgotten ─► runs on: read that, and what no round has
 *  round    the same
 *  switch   stands still: ask ─► read that
 * ```
 *
 * A page that is written to after the kernel has forgotten is named when it is asked next, so it does not matter when
 * it is read. Whatever the kernel cannot vouch for is read and compared by content, as if it noted nothing: a process
 * that is new or has another's pid, a container that did not stand still in between, and
 *
 *  - page tables that mremap(2) has moved whole, and huge zero pages: neither leaves a mark. Of each region (the 2 MiB
 *    of one table) the frame of one page is noted, and the marks of a region count only while that page has its frame
 *    and no mark: another table has other frames, and a frame that was given back and taken again was written to. (Or
 *    compaction has put a page of the table that was moved here into just that frame, one of all that are free.)
 *  - hosts where pages are merged (KSM), which takes the mark of a page along;
 *  - processes with asynchronous direct I/O under way, whose devices write past the page tables.
 *
 * CRIU's own way (`criu pre-dump`) believes the marks alone, so that of memory that was moved the copy gets what was at
 * that address before; and it takes control of every thread in each round to read memory from within: what ends CRIU in
 * that moment ends the container. Here nothing of the container is touched.
 */
import { readFileSync } from "node:fs";
import { isFrozen } from "../host/cgroup.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { openMemories, type TaskMemory } from "./container-memory.ts";
import { type PageSet, REGION_BYTES, REGION_PAGES } from "./page-set.ts";
import { canTellWritten } from "./resident-ranges.ts";

/** Of CRIU's features: the kernel was seen to note a write. */
const FEATURE = "mem_dirty_track";

export interface WrittenSince {
  /** Private pages of this process that were written to, or may have been; null if nothing is known of it. */
  of(memory: Pick<TaskMemory, "task" | "startTime">): PageSet | null;
}

/** What is known of a process since the last round. */
interface Noted {
  readonly startTime: string;
  /** One page of each region that had any, with its frame. */
  readonly witnesses: ReadonlyMap<number, Witness>;
}

interface Witness {
  readonly address: number;
  readonly frame: number;
}

/** Whether this host's kernel can tell, given what CRIU has found that it can. */
export function kernelNotesWrites(criuFeatures: readonly string[]): boolean {
  return criuFeatures.includes(FEATURE) && canTellWritten() && !mergesPages();
}

/** Of a process, what is asked here. */
export type NotedMemory = Pick<
  TaskMemory,
  "task" | "startTime" | "hasAsynchronousIo" | "writtenPages" | "privateSpans" | "frameOf" | "forgetWrites" | "close"
>;

/** A container whose writes the kernel notes. */
export interface NotedContainer {
  /** All of its processes, to be closed. */
  open(): Promise<NotedMemory[]>;
  isStill(): Promise<boolean>;
  /** Its host merges equal pages. */
  mergesPages(): boolean;
}

/** The one with this cgroup, absolute, and init, on the host. */
export function notedContainer(cgroup: string, initPid: number): NotedContainer {
  return {
    open: () => openMemories(cgroup, initPid, { marks: true }),
    isStill: () => isFrozen(cgroup),
    mergesPages,
  };
}

export class WriteTracking {
  readonly #container: NotedContainer;
  /** By the pids in the container. */
  #noted: ReadonlyMap<number, Noted> = new Map();

  /** Nothing is noted yet. */
  constructor(container: NotedContainer) {
    this.#container = container;
  }

  /**
   * What was written to since the last call, of all processes; noted from now on is what comes. To be called while the
   * container stands still, before the pages are read. Where it fails nothing is known afterwards.
   */
  async renew(): Promise<WrittenSince> {
    const memories = await this.#container.open();
    try {
      const written = this.writtenOf(memories);
      this.#noted = new Map();
      // All are asked before the first is forgotten: processes may share one address space.
      const noted = memories.filter((memory) => !memory.hasAsynchronousIo && memory.forgetWrites());
      const all = noted.map((memory): [number, Noted] => {
        return [
          memory.task.innerPid,
          { startTime: memory.startTime, witnesses: witnessesOf(memory, written.of(memory)) },
        ];
      });
      // Somebody has let it go on: a write may have been forgotten unseen.
      if (!(await this.#container.isStill())) return nothingKnown;
      this.#noted = new Map(all);
      return written;
    } finally {
      for (const memory of memories) memory.close();
    }
  }

  /** What these were written to since the last round, of a container that is frozen for good. */
  writtenOf(memories: readonly NotedMemory[]): WrittenSince {
    if (this.#container.mergesPages()) return nothingKnown;
    const byPid = new Map(
      memories.flatMap((memory) => {
        const noted = this.#noted.get(memory.task.innerPid);
        if (noted?.startTime !== memory.startTime || memory.hasAsynchronousIo) return [];
        return [[memory.task.innerPid, { startTime: memory.startTime, pages: writtenPages(memory, noted) }] as const];
      }),
    );
    return {
      of: ({ task, startTime }) => {
        const found = byPid.get(task.innerPid);
        return found?.startTime === startTime ? found.pages : null;
      },
    };
  }
}

const nothingKnown: WrittenSince = { of: () => null };

/** The pages with a mark, and all of each region whose witness is not what it was. */
function writtenPages(memory: NotedMemory, { witnesses }: Noted): PageSet {
  const written = memory.writtenPages();
  for (const { start } of regionsOf(memory)) {
    const region = regionOf(start);
    const witness = witnesses.get(region);
    const isSame =
      witness !== undefined && !written.has(witness.address) && memory.frameOf(witness.address) === witness.frame;
    if (!isSame) written.add({ start: region, pages: REGION_PAGES });
  }
  return written;
}

/** A page that was not written to lately is likely to stay so: what is written to makes a poor witness. */
function witnessesOf(memory: NotedMemory, written: PageSet | null): Map<number, Witness> {
  const witnesses = new Map<number, Witness>();
  for (const { start, end } of regionsOf(memory)) {
    let address = start;
    while (written?.has(address) && address + PAGE_BYTES < end) address += PAGE_BYTES;
    const known = witnesses.get(regionOf(start));
    if (known !== undefined && !written?.has(known.address)) continue;
    const frame = memory.frameOf(address);
    if (frame !== null) witnesses.set(regionOf(start), { address, frame });
  }
  return witnesses;
}

/** What is there of private memory, cut where regions end: one may come in several pieces. */
function* regionsOf(memory: NotedMemory): Generator<{ readonly start: number; readonly end: number }> {
  for (const { vaddr: start, pages } of memory.privateSpans()) {
    const end = start + pages * PAGE_BYTES;
    for (let at = start; at < end; at = regionOf(at) + REGION_BYTES) {
      yield { start: at, end: Math.min(end, regionOf(at) + REGION_BYTES) };
    }
  }
}

function regionOf(address: number): number {
  return address - (address % REGION_BYTES);
}

/** Has merged, or does. Without KSM in the kernel there is nothing that would say so. */
function mergesPages(): boolean {
  try {
    return readFileSync("/sys/kernel/mm/ksm/run", "utf8").trim() !== "0";
  } catch {
    return false;
  }
}
