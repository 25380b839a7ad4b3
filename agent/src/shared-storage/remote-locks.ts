/** Locks of which only the file system knows; see agent/runc/remote-locks.c. */
import { runCommand } from "../host/run-command.ts";
import type { SharedFile } from "./shared-files.ts";

const PROGRAM = "/usr/lib/drayage/drayage-remote-locks";
const LIMIT_MS = 10_000;

/**
 * Those of the files, open ones on FUSE, on which somebody holds a lock: the container or another, on this host or
 * another. Clients in the kernel (NFS, CIFS, Ceph) show the container's own locks in fdinfo. Throws DrayError
 * COMMAND_FAILED, TIMEOUT, CANCELLED.
 */
export async function remotelyLocked(
  files: readonly SharedFile[],
  signal?: AbortSignal,
  program: string = PROGRAM,
): Promise<SharedFile[]> {
  const asked = files.filter(({ fd, fileSystem }) => fd !== undefined && keepsLocksToItself(fileSystem));
  if (asked.length === 0) return [];
  const stdin = asked.map(nameOf).join("\n");
  const { stdout } = await runCommand([program], { deadlineMs: LIMIT_MS, stdin, signal });
  const locked = new Set(stdout.split("\n"));
  return asked.filter((file) => locked.has(nameOf(file)));
}

function nameOf({ pid, fd }: SharedFile): string {
  return `${pid} ${fd}`;
}

function keepsLocksToItself(fileSystem: string): boolean {
  return fileSystem === "glusterfs" || fileSystem.startsWith("fuse.");
}
