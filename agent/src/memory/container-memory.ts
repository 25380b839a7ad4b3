/** The memory of a container as its host sees it: its processes, what each has mapped, and what is in there. */
import { closeSync, openSync, readSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { cgroupOfPid, cgroupPids } from "../host/cgroup.ts";
import { unlessGone } from "../host/unless-gone.ts";
import { type ImageId, PAGE_BYTES } from "../memory-image/page-range.ts";
import { type Mapping, readMappings } from "./mappings.ts";
import { PageSet } from "./page-set.ts";
import { residentRanges, writtenRanges } from "./resident-ranges.ts";

export interface ContainerTask {
  /** On the host. */
  readonly pid: number;
  /** In the container's pid namespace. */
  readonly innerPid: number;
}

/** Pages of one image that are there now. */
export interface ResidentRange {
  /** Address in the process. */
  readonly start: number;
  readonly pages: number;
  /** What the image calls the first of them. */
  readonly vaddr: number;
}

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
export async function openMemories(cgroup: string, initPid: number): Promise<TaskMemory[]> {
  const memories: TaskMemory[] = [];
  try {
    for (const task of await containerTasks(cgroup, initPid)) {
      const memory = await TaskMemory.open(task, cgroup);
      if (memory !== null) memories.push(memory);
    }
    return memories;
  } catch (thrown) {
    for (const memory of memories) memory.close();
    throw thrown;
  }
}

/** One process's memory, open for reading. It may run on, change its mappings, and end. */
export class TaskMemory {
  readonly task: ContainerTask;
  /** Tells a process from another that had its pid before: ticks from boot, as in /proc/PID/stat. */
  readonly startTime: string;
  readonly #memoryFd: number;
  readonly #pagemapFd: number;
  readonly #mappings: readonly Mapping[];

  private constructor(
    { task, startTime }: Pick<TaskMemory, "task" | "startTime">,
    memoryFd: number,
    pagemapFd: number,
    mappings: readonly Mapping[],
  ) {
    this.task = task;
    this.startTime = startTime;
    this.#memoryFd = memoryFd;
    this.#pagemapFd = pagemapFd;
    this.#mappings = mappings;
  }

  /** Null if the process has ended, or its pid is another's by now: one outside of the container's cgroup. */
  static async open(task: ContainerTask, cgroup: string): Promise<TaskMemory | null> {
    const maps = await unlessGone(readFile(`/proc/${task.pid}/maps`, "utf8"));
    if (maps === undefined) return null;
    let memoryFd: number | undefined;
    try {
      memoryFd = openSync(`/proc/${task.pid}/mem`, "r");
      const startTime = startTimeOf(await readFile(`/proc/${task.pid}/stat`, "utf8"));
      const pagemapFd = openSync(`/proc/${task.pid}/pagemap`, "r");
      const memory = new TaskMemory({ task, startTime }, memoryFd, pagemapFd, readMappings(maps));
      // Asked when the address space is held: from here on it is this one, whatever becomes of the pid.
      if (await isWithin(task.pid, cgroup)) return memory;
      memory.close();
      return null;
    } catch (error) {
      if (memoryFd !== undefined) closeSync(memoryFd);
      if (isGone(error)) return null;
      throw error;
    }
  }

  get privateImage(): ImageId {
    return { kind: "task", id: this.task.innerPid };
  }

  /** Its private pages, by ascending address. */
  *privateRanges(): Generator<ResidentRange> {
    for (const mapping of this.#mappings) {
      if (mapping.kind !== "private") continue;
      for (const { start, end } of residentRanges(this.#pagemapFd, mapping, mapping.file)) {
        yield { start, pages: (end - start) / PAGE_BYTES, vaddr: start };
      }
    }
  }

  /** Its private pages that were written to since the kernel was last told to forget; see write-tracking.ts. */
  writtenPages(): PageSet {
    const written = new PageSet();
    for (const mapping of this.#mappings) {
      if (mapping.kind !== "private") continue;
      for (const { start, end } of writtenRanges(this.#pagemapFd, mapping)) {
        written.add({ start, pages: (end - start) / PAGE_BYTES });
      }
    }
    return written;
  }

  /** Shared memory objects that it has mapped, each with its pages by ascending offset; one that is mapped twice comes once. */
  *sharedRanges(): Generator<{ readonly image: ImageId; readonly ranges: Iterable<ResidentRange> }> {
    const seen = new Set<number>();
    for (const mapping of this.#mappings) {
      if (mapping.kind !== "shared" || seen.has(mapping.inode)) continue;
      seen.add(mapping.inode);
      yield { image: { kind: "shared", id: mapping.inode }, ranges: this.#sharedRanges(mapping) };
    }
  }

  /** Fills `space`, whole pages, from this address on. Returns the bytes that could be read, whole pages. */
  read(address: number, space: Buffer): number {
    let filled = 0;
    while (filled < space.length) {
      try {
        const bytes = readSync(this.#memoryFd, space, filled, space.length - filled, address + filled);
        if (bytes === 0) break;
        filled += bytes;
      } catch (error) {
        if (!isUnreadable(error)) throw error;
        break;
      }
    }
    return filled - (filled % PAGE_BYTES);
  }

  close(): void {
    closeSync(this.#memoryFd);
    closeSync(this.#pagemapFd);
  }

  *#sharedRanges(mapping: Extract<Mapping, { kind: "shared" }>): Generator<ResidentRange> {
    for (const { start, end } of residentRanges(this.#pagemapFd, mapping, false)) {
      yield { start, pages: (end - start) / PAGE_BYTES, vaddr: start - mapping.start + mapping.offset };
    }
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

export function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ESRCH";
}

/** The page went after it was looked for, or nobody may read it: a guard page, memory of a device. */
function isUnreadable(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "EIO" || code === "EFAULT" || code === "ESRCH";
}
