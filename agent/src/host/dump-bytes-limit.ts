/** The most that a dump of processes writes of their memory. */
import { readFile } from "node:fs/promises";
import { cgroupPids } from "./cgroup.ts";
import { unlessGone } from "./unless-gone.ts";

export interface ProcessMemory {
  /** Private pages, in memory or swapped out, bytes: a dump writes them for each process, shared by a fork or not. */
  readonly privateBytes: number;
  /** What of its memory is locked, private or not, bytes. */
  readonly lockedBytes: number;
  /** Pages of shared memory that it has mapped, and huge pages of hugetlbfs, bytes. */
  readonly sharedBytes: number;
  /** By device and inode of what it has mapped: how far that reaches at least, bytes. */
  readonly extents: ReadonlyMap<string, number>;
}

const LINE = /^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) (\S+) (\d+)/;

/** From /proc/PID/status and /proc/PID/maps, see proc(5). Pure. */
export function processMemory(status: string, maps: string): ProcessMemory {
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0) * 1024;
  const extents = new Map<string, number>();
  for (const line of maps.split("\n")) {
    const [, from = "", to = "", offset = "", device = "", inode = "0"] = LINE.exec(line) ?? [];
    if (inode === "0") continue;
    const reach = Number.parseInt(offset, 16) + Number.parseInt(to, 16) - Number.parseInt(from, 16);
    const file = `${device} ${inode}`;
    extents.set(file, Math.max(extents.get(file) ?? 0, reach));
  }
  return {
    privateBytes: field("RssAnon") + field("VmSwap"),
    lockedBytes: field("VmLck"),
    sharedBytes: field("RssShmem") + field("HugetlbPages"),
    extents,
  };
}

/**
 * Not more than this is written of all of them together, bytes. What they share is written once, so neither more than
 * each has mapped of it counts, nor more than it reaches; a database's buffers are not counted for each connection.
 */
export function dumpBytesLimit(processes: readonly ProcessMemory[]): number {
  return sum(processes.map(({ privateBytes }) => privateBytes)) + sharedBytesLimit(processes);
}

/** The part of it that is shared, or of huge pages: what is written where private memory is left out. */
export function sharedBytesLimit(processes: readonly ProcessMemory[]): number {
  const extents = new Map<string, number>();
  for (const process of processes) {
    for (const [file, bytes] of process.extents) extents.set(file, Math.max(extents.get(file) ?? 0, bytes));
  }
  return Math.min(sum(processes.map(({ sharedBytes }) => sharedBytes)), sum(extents.values()));
}

function sum(values: Iterable<number>): number {
  return [...values].reduce((total, value) => total + value, 0);
}

/**
 * How much of the shared part may lie in files of these file systems, bytes; each is named by the major and minor number
 * of its device, "0:57".
 */
export function sharedBytesOn(processes: readonly ProcessMemory[], devices: ReadonlySet<string>): number {
  return sharedBytesLimit(
    processes.map((process) => ({
      ...process,
      extents: new Map([...process.extents].filter(([file]) => devices.has(deviceOf(file)))),
    })),
  );
}

/** In maps both numbers are hexadecimal, "00:39 77". */
function deviceOf(file: string): string {
  const [major = "", minor = ""] = file.split(/[: ]/);
  return `${Number.parseInt(major, 16)}:${Number.parseInt(minor, 16)}`;
}

/** The limit for this cgroup's processes. Those that end meanwhile count nothing. */
export async function dumpBytesLimitOf(cgroup: string): Promise<number> {
  return dumpBytesLimit(await memoriesOf(cgroup));
}

/**
 * What a dump of this cgroup's processes brings even where private memory stays where it is, about, bytes: what is
 * shared, what is locked, and all of those of which it leaves nothing (host pids).
 */
export async function broughtBytesOf(cgroup: string, whole: readonly number[]): Promise<number> {
  const pids = await cgroupPids(cgroup);
  const memories = await Promise.all(pids.map(memoryOf));
  return broughtBytes(memories, (index) => whole.includes(pids[index] as number));
}

/** The same of these processes, by their index. Pure. */
export function broughtBytes(processes: readonly ProcessMemory[], isWhole: (index: number) => boolean): number {
  const own = processes.map(({ privateBytes, lockedBytes }, index) =>
    isWhole(index) ? privateBytes : Math.min(privateBytes, lockedBytes),
  );
  return sharedBytesLimit(processes) + sum(own);
}

/** Of this cgroup's processes. Those that end meanwhile have nothing. */
export async function memoriesOf(cgroup: string): Promise<ProcessMemory[]> {
  return await Promise.all((await cgroupPids(cgroup)).map(memoryOf));
}

async function memoryOf(pid: number): Promise<ProcessMemory> {
  const read = async (name: string) => (await unlessGone(readFile(`/proc/${pid}/${name}`, "utf8"))) ?? "";
  const [status, maps] = await Promise.all([read("status"), read("maps")]);
  return processMemory(status, maps);
}
