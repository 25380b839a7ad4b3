/**
 * The mounts of a restore that its own programs remove at their end, except
 * when they are killed: the one under which CRIU puts a container's mounts
 * together (/tmp/.criu.mntns.XXXXXX), and runc's bind mount of the root for
 * CRIU (criu-root in its state directory).
 */
import { rmdir } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "../host/run-command.ts";

const YARD = /\/tmp\/\.criu\.mntns\.[A-Za-z0-9]{6}(?![A-Za-z0-9])/g;
const UNMOUNT_DEADLINE_MS = 10_000;

/** CRIU's that a restore's log names. Pure. */
export function mountYardsIn(log: string): string[] {
  return [...new Set(log.match(YARD) ?? [])];
}

/**
 * Removes what is left of them; nothing to do for one that is gone.
 * `stateDirectory` is runc's of the container. Throws DrayError COMMAND_FAILED, TIMEOUT.
 */
export async function removeRestoreMounts(log: string, stateDirectory: string): Promise<void> {
  for (const directory of [...mountYardsIn(log), join(stateDirectory, "criu-root")]) {
    // 32: it is not mounted, or not there.
    await runCommand(["umount", "--lazy", directory], { deadlineMs: UNMOUNT_DEADLINE_MS, okCodes: [0, 32] });
    await rmdir(directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
  }
}
