/**
 * What a container has written to shared storage must be there, not in this host's caches, before another host reads
 * it; and this host must have nothing left to write when the source is ended, or it would write over the copy's data.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { mountsOf } from "../host/mountinfo.ts";
import { runCommand } from "../host/run-command.ts";
import { remotelyLocked } from "./remote-locks.ts";
import { type SharedFile, sharedFilesOf, sharedMounts } from "./shared-files.ts";

const FLUSH_DEADLINE_MS = 60_000;
/** How many files one command is given. */
const FILES_AT_ONCE = 1000;

/** True if the container whose init this is has shared storage mounted. */
export async function hasSharedStorage(initPid: number): Promise<boolean> {
  return sharedMounts(await mountsOf(initPid)).length > 0;
}

/** Writes out what can be written out while the container runs, so that little is left for `settleSharedFiles`. */
export async function flushSharedFiles(initPid: number, signal?: AbortSignal): Promise<void> {
  const files = await sharedFilesOf(initPid, sharedMounts(await mountsOf(initPid)), signal);
  // 1: one of them could not be opened; it may have been closed meanwhile.
  await flush(files, [0, 1], signal);
}

/**
 * For a frozen container: writes out every file on shared storage that its processes can write to, and demands that
 * none of them is locked, since nothing would carry the lock. (What they have closed, the file systems write at the
 * close.) Throws DrayError PREFLIGHT, COMMAND_FAILED, TIMEOUT, CANCELLED.
 */
export async function settleSharedFiles(initPid: number, signal?: AbortSignal): Promise<void> {
  const files = await sharedFilesOf(initPid, sharedMounts(await mountsOf(initPid)), signal);
  await flush(files, [0], signal);
  const [locked] = await remotelyLocked(files, signal);
  if (locked === undefined) return;
  throw new DrayError("PREFLIGHT", `a lock was taken on ${locked.path}, which is on shared storage`, {
    remedy: "Nothing would carry the lock: let the application release it, then migrate again.",
  });
}

async function flush(files: readonly SharedFile[], okCodes: readonly number[], signal?: AbortSignal): Promise<void> {
  const links = files.filter(({ writable }) => writable).map(({ link }) => link);
  for (let at = 0; at < links.length; at += FILES_AT_ONCE) {
    const some = links.slice(at, at + FILES_AT_ONCE);
    await runCommand(["sync", "--", ...some], { deadlineMs: FLUSH_DEADLINE_MS, okCodes, signal });
  }
}
