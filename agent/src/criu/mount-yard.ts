/**
 * The mount under which CRIU puts a container's mounts together
 * (/tmp/.criu.mntns.XXXXXX). CRIU removes it at its end, except when it is
 * killed.
 */
import { rmdir } from "node:fs/promises";
import { runCommand } from "../host/run-command.ts";

const YARD = /\/tmp\/\.criu\.mntns\.[A-Za-z0-9]{6}(?![A-Za-z0-9])/g;
const UNMOUNT_DEADLINE_MS = 10_000;

/** Those that a restore's log names. Pure. */
export function mountYardsIn(log: string): string[] {
  return [...new Set(log.match(YARD) ?? [])];
}

/** Removes what is left of them; nothing to do for one that is gone. Throws DrayError COMMAND_FAILED, TIMEOUT. */
export async function removeMountYards(log: string): Promise<void> {
  for (const yard of mountYardsIn(log)) {
    // 32: it is not mounted.
    await runCommand(["umount", "--lazy", yard], { deadlineMs: UNMOUNT_DEADLINE_MS, okCodes: [0, 32] });
    await rmdir(yard).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
  }
}
