/** The memory of a container as its host sees it: its processes, what each has mapped, and what is in there. */
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { cgroupOfPid, cgroupPids } from "../host/cgroup.ts";
import { unlessGone } from "../host/unless-gone.ts";
import { type ImageId, PAGE_BYTES, type PageSpan } from "../memory-image/page-range.ts";
import { type Mapping, readMappings } from "./mappings.ts";
import { isGone } from "./memory-errors.ts";
import { PageSet } from "./page-set.ts";
import { readPages } from "./read-pages.ts";
import { residentRanges, writtenRanges } from "./resident-ranges.ts";
import { SharedObject } from "./shared-object.ts";

export interface ContainerTask {
  /** On the host. */
  readonly pid: number;
  /** In the container's pid namespace. */
  readonly innerPid: number;
}

/** Of /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst of Linux. */
const PAGEMAP_ENTRY_BYTES = 8;
const PRESENT_BIT = 1n << 63n;
const FRAME_BITS = (1n << 55n) - 1n;

/** /proc/PID/clear_refs: the soft-dirty marks. */
const FORGET_SOFT_DIRTY = "4";

/** Of /proc/PID/maps: the ring of io_setup(2). */
const ASYNCHRONOUS_IO = " /[aio]";

const NSPID = /^NSpid:\t(.+)$/m;

/** Of the container with this init, in ascending order of their inner pids. Those that end meanwhile are left out. */
export async function containerTasks(cgroup: string, initPid: number): Promise<ContainerTask[]> {
  const depth = (await nsPids(initPid)).length;
  const tasks = await Promise.all(
    (await cgroupPids(cgroup)).map(async (pid) => ({ pid, innerPid: (await nsPids(pid))[depth - 1] ?? 0 })),
  );
  return tasks.filter(({ innerPid }) => innerPid > 0).sort((a, b) => a.innerPid - b.innerPid);
}

/** From the outermost namespace to the innermost. */
async function nsPids(pid: number): Promise<number[]> {
  const status = (await unlessGone(readFile(`/proc/${pid}/status`, "utf8"))) ?? "";
  return (NSPID.exec(status)?.[1] ?? "").split("\t").map(Number).filter(Boolean);
}

/** Of all processes of a container, in that order; to be closed, each. */
export async function openMemories(cgroup: string, initPid: number, options: OpenOptions = {}): Promise<TaskMemory[]> {
  const memories: TaskMemory[] = [];
  try {
    for (const task of await containerTasks(cgroup, initPid)) {
      const memory = await TaskMemory.open(task, cgroup, options);
      if (memory !== null) memories.push(memory);
    }
    return memories;
  } catch (thrown) {
    for (const memory of memories) memory.close();
    throw thrown;
  }
}

export interface OpenOptions {
  /** `forgetWrites` will be called. */
  readonly marks?: boolean;
}

interface Descriptors {
  readonly memory: number;
  readonly pagemap: number;
  readonly clearRefs: number | undefined;
}

/** One process's memory, open for reading. It may run on, change its mappings, and end. */
export class TaskMemory {
  readonly task: ContainerTask;
  /** Tells a process from another that had its pid before: ticks from boot, as in /proc/PID/stat. */
  readonly startTime: string;
  /** Devices may write to its pages on behalf of requests that no thread waits for. */
  readonly hasAsynchronousIo: boolean;
  readonly #fds: Descriptors;
  readonly #mappings: readonly Mapping[];

  private constructor(task: ContainerTask, fds: Descriptors, { maps, stat }: Record<"maps" | "stat", string>) {
    this.task = task;
    this.startTime = startTimeOf(stat);
    this.hasAsynchronousIo = maps.includes(ASYNCHRONOUS_IO);
    this.#fds = fds;
    this.#mappings = readMappings(maps);
  }

  /** Null if the process has ended, or its pid is another's by now: one outside of the container's cgroup. */
  static async open(
    task: ContainerTask,
    cgroup: string,
    { marks = false }: OpenOptions = {},
  ): Promise<TaskMemory | null> {
    const directory = `/proc/${task.pid}`;
    const maps = await unlessGone(readFile(`${directory}/maps`, "utf8"));
    if (maps === undefined) return null;
    const opened: number[] = [];
    const keep = (fd: number) => {
      opened.push(fd);
      return fd;
    };
    try {
      const fds = {
        memory: keep(openSync(`${directory}/mem`, "r")),
        pagemap: keep(openSync(`${directory}/pagemap`, "r")),
        clearRefs: marks ? keep(openSync(`${directory}/clear_refs`, constants.O_WRONLY)) : undefined,
      };
      const stat = await readFile(`${directory}/stat`, "utf8");
      // Asked when everything is open: from here on it is this process, whatever becomes of the pid.
      if (await isWithin(task.pid, cgroup)) return new TaskMemory(task, fds, { maps, stat });
    } catch (error) {
      if (!isGone(error)) {
        for (const fd of opened) closeSync(fd);
        throw error;
      }
    }
    for (const fd of opened) closeSync(fd);
    return null;
  }

  get privateImage(): ImageId {
    return { kind: "task", id: this.task.innerPid };
  }

  /** Its private pages, by ascending address. */
  *privateSpans(): Generator<PageSpan> {
    for (const mapping of this.#mappings) {
      if (mapping.kind !== "private") continue;
      for (const { start, end } of residentRanges(this.#fds.pagemap, mapping, mapping.file)) {
        yield { vaddr: start, pages: (end - start) / PAGE_BYTES };
      }
    }
  }

  /** Its private pages that were written to since the kernel was last told to forget; see write-tracking.ts. */
  writtenPages(): PageSet {
    const written = new PageSet();
    for (const mapping of this.#mappings) {
      if (mapping.kind !== "private") continue;
      for (const { start, end } of writtenRanges(this.#fds.pagemap, mapping)) {
        written.add({ start, pages: (end - start) / PAGE_BYTES });
      }
    }
    return written;
  }

  /** The kernel's marks of all of its pages. False if it has ended. */
  forgetWrites(): boolean {
    const { clearRefs } = this.#fds;
    if (clearRefs === undefined) throw new RangeError("opened without the marks of its pages");
    try {
      writeSync(clearRefs, FORGET_SOFT_DIRTY);
      return true;
    } catch (error) {
      if (isGone(error)) return false;
      throw error;
    }
  }

  /** The number of the frame in which this page is; null if it is in none, or that is nobody's business. */
  frameOf(address: number): number | null {
    const entry = Buffer.alloc(PAGEMAP_ENTRY_BYTES);
    if (readSync(this.#fds.pagemap, entry, 0, entry.length, (address / PAGE_BYTES) * entry.length) < entry.length) {
      return null;
    }
    const value = entry.readBigUInt64LE();
    const frame = Number(value & FRAME_BITS);
    return (value & PRESENT_BIT) === 0n || frame === 0 ? null : frame;
  }

  /** Shared memory objects that it has mapped, but for these, each once; closed when the next is asked for. */
  *sharedObjects(except: ReadonlySet<number>): Generator<{ readonly image: ImageId; readonly object: SharedObject }> {
    const seen = new Set(except);
    for (const mapping of this.#mappings) {
      if (mapping.kind !== "shared" || seen.has(mapping.inode)) continue;
      const object = SharedObject.open(this.task.pid, mapping);
      if (object === null) continue;
      seen.add(mapping.inode);
      try {
        yield { image: { kind: "shared", id: mapping.inode }, object };
      } finally {
        object.close();
      }
    }
  }

  /** Fills `space`, whole pages, from this address on. Returns the bytes that could be read, whole pages. */
  read(address: number, space: Buffer): number {
    return readPages(this.#fds.memory, address, space);
  }

  close(): void {
    const { memory, pagemap, clearRefs } = this.#fds;
    closeSync(memory);
    closeSync(pagemap);
    if (clearRefs !== undefined) closeSync(clearRefs);
  }
}

/** Field 22; the second is a name in parentheses that may hold anything. */
function startTimeOf(stat: string): string {
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

async function isWithin(pid: number, cgroup: string): Promise<boolean> {
  const now = await cgroupOfPid(pid).catch(() => "");
  return now === cgroup || now.startsWith(`${cgroup}/`);
}
