/** What the processes of a container hold that a dump must know about. */
import { readdir, readFile, readlink } from "node:fs/promises";
import { type FileWatch, parseWatches } from "../host/file-watches.ts";
import { unlessGone } from "../host/unless-gone.ts";
import { namespacePids } from "../layer/written-paths.ts";

export interface FileLock {
  /** FLOCK, POSIX, OFDLCK, LEASE. */
  readonly kind: string;
  readonly path: string;
  /** Mount on which the file is, by id in the container's mountinfo. */
  readonly mountId: number;
}

export interface ProcessFacts {
  readonly pid: number;
  readonly name: string;
  /** Runs, in whole or in part, as another user or group than root. */
  readonly foreign: boolean;
  readonly usesIoUring: boolean;
  /** What it watches with inotify. */
  readonly watches: readonly FileWatch[];
  readonly locks: readonly FileLock[];
  readonly socketInodes: readonly number[];
}

/** All processes in the container's pid namespace. Those that end meanwhile are left out. */
export async function processesOf(initPid: number, signal?: AbortSignal): Promise<ProcessFacts[]> {
  const found: ProcessFacts[] = [];
  for (const pid of namespacePids(initPid)) {
    signal?.throwIfAborted();
    const facts = await processFacts(pid);
    if (facts !== undefined) found.push(facts);
  }
  return found;
}

async function processFacts(pid: number): Promise<ProcessFacts | undefined> {
  const name = (await unlessGone(readFile(`/proc/${pid}/comm`, "utf8")))?.trim();
  const status = await unlessGone(readFile(`/proc/${pid}/status`, "utf8"));
  if (name === undefined || status === undefined) return undefined;
  const locks: FileLock[] = [];
  const socketInodes: number[] = [];
  let usesIoUring = false;
  const watches: FileWatch[] = [];
  for (const fd of (await unlessGone(readdir(`/proc/${pid}/fd`))) ?? []) {
    const target = await unlessGone(readlink(`/proc/${pid}/fd/${fd}`));
    if (target === undefined) continue;
    const socket = /^socket:\[([0-9]+)\]$/.exec(target)?.[1];
    if (socket !== undefined) socketInodes.push(Number(socket));
    if (target === "anon_inode:[io_uring]") usesIoUring = true;
    const watching = target === "anon_inode:inotify" || target === "inotify";
    if (!watching && !target.startsWith("/")) continue;
    const fdinfo = (await unlessGone(readFile(`/proc/${pid}/fdinfo/${fd}`, "utf8"))) ?? "";
    if (watching) watches.push(...parseWatches(fdinfo));
    else locks.push(...parseLocks(fdinfo, target));
  }
  return { pid, name, foreign: isForeign(status), usesIoUring, watches, locks, socketInodes };
}

/** Lines are "Uid:\t999\t999\t999\t999": real, effective, saved, file system. */
export function isForeign(status: string): boolean {
  return [...status.matchAll(/^[UG]id:(.*)$/gm)].some(([, ids = ""]) => /[1-9]/.test(ids));
}

/** Lines are "lock:\t1: POSIX  ADVISORY  WRITE 522 fe:00:1917421 0 EOF". */
export function parseLocks(fdinfo: string, path: string): FileLock[] {
  const mountId = Number(/^mnt_id:\s*([0-9]+)$/m.exec(fdinfo)?.[1] ?? -1);
  return [...fdinfo.matchAll(/^lock:\s*[0-9]+: (\S+)/gm)].map((match) => ({ kind: match[1] ?? "", path, mountId }));
}
