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
 * that is new or has another's pid, a container that did not stand still in between.
 *
 * CRIU's own way (`criu pre-dump`) uses the same notes, but takes control of every thread in each round to read memory
 * from within; what ends CRIU in that moment ends the container. Here nothing of the container is touched.
 */
import { writeFileSync } from "node:fs";
import { isFrozen } from "../host/cgroup.ts";
import { isGone, openMemories, type TaskMemory } from "./container-memory.ts";
import type { PageSet } from "./page-set.ts";
import { canTellWritten } from "./resident-ranges.ts";

/** /proc/PID/clear_refs: forget the soft-dirty marks of all pages. */
const FORGET_SOFT_DIRTY = "4";

/** Of CRIU's features: the kernel was seen to note a write. */
const FEATURE = "mem_dirty_track";

export interface WrittenSince {
  /** Private pages of this process that were written to; null if that is not known. */
  of(memory: Pick<TaskMemory, "task" | "startTime">): PageSet | null;
}

/** Whether this host's kernel can tell, given what CRIU has found that it can. */
export function kernelNotesWrites(criuFeatures: readonly string[]): boolean {
  return criuFeatures.includes(FEATURE) && canTellWritten();
}

export class WriteTracking {
  readonly #cgroup: string;
  readonly #initPid: number;
  /** Of the processes whose writes are noted since the last round, by their pids in the container. */
  #startTimes: ReadonlyMap<number, string> = new Map();

  /** Of the container with this cgroup, absolute, and init, on the host. Nothing is noted yet. */
  constructor(cgroup: string, initPid: number) {
    this.#cgroup = cgroup;
    this.#initPid = initPid;
  }

  /**
   * What was written to since the last call, of all processes; noted from now on is what comes. To be called while the
   * container stands still, before the pages are read. Where it fails nothing is known afterwards.
   */
  async renew(): Promise<WrittenSince> {
    const memories = await openMemories(this.#cgroup, this.#initPid);
    try {
      const written = this.writtenOf(memories);
      this.#startTimes = new Map();
      // All are asked before the first is forgotten: processes may share one address space.
      const noted = memories.filter(({ task }) => forget(task.pid));
      // Somebody has let it go on: a write may have been forgotten unseen.
      if (!(await isFrozen(this.#cgroup))) return nothingKnown;
      this.#startTimes = new Map(noted.map(({ task, startTime }) => [task.innerPid, startTime]));
      return written;
    } finally {
      for (const memory of memories) memory.close();
    }
  }

  /** What these were written to since the last round, of a container that is frozen for good. */
  writtenOf(memories: readonly TaskMemory[]): WrittenSince {
    const known = memories.filter(({ task, startTime }) => this.#startTimes.get(task.innerPid) === startTime);
    const byPid = new Map(
      known.map((memory) => [memory.task.innerPid, { startTime: memory.startTime, pages: memory.writtenPages() }]),
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

/** False if the process has ended. */
function forget(pid: number): boolean {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, FORGET_SOFT_DIRTY, { flag: "r+" });
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}
