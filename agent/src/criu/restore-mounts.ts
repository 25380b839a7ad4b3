/**
 * What a restore's own programs remove at their end, except when they are
 * killed: the directory in which CRIU puts a container's mounts together, its
 * yard (/tmp/.criu.mntns.XXXXXX; mounting on it in the container's namespace
 * leaves an empty mount in the host's, too), and runc's bind mount of the root
 * for CRIU (criu-root in its state directory).
 *
 * The yard's name is known from CRIU's log alone, which also holds names of
 * the container's making. So it counts only where CRIU itself writes it, and
 * unmounting, which spreads to the namespaces in which a restore is at work,
 * waits on the mount tables.
 */
import { realpath, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { type Mount, mountsOf, otherMountTables } from "../host/mountinfo.ts";
import { runCommand } from "../host/run-command.ts";
import { unlessGone } from "../host/unless-gone.ts";

/** CRIU says so of every mount, before it makes the first; the mount point within the container comes after. */
const WILL_MOUNT = /^\(\d+\.\d+\) +(?:\d+: )?mnt: \t\tWill mount \d+ @ (\/tmp\/\.criu\.mntns\.[A-Za-z0-9]{6})\//gm;
const UNMOUNT_DEADLINE_MS = 10_000;

/**
 * The yard of the restore that wrote this log; null if it had none. A restore has one: where names in the container
 * make it look like more, it is CRIU_RESTORE_FAILED, and nobody's guess. Pure.
 */
export function mountYardIn(log: string): string | null {
  const [yard, ...others] = new Set([...log.matchAll(WILL_MOUNT)].map((match) => match[1]));
  if (others.length === 0) return yard ?? null;
  throw new DrayError("CRIU_RESTORE_FAILED", `CRIU's log names ${others.length + 1} mount yards for one restore`, {
    remedy:
      "Look for /tmp/.criu.mntns.* once no restore is under way on that node, and unmount and remove what is left.",
  });
}

/**
 * True if a restore is at work on the yard, by the mount table of a namespace other than the host's: there it is
 * private, and carries mounts. The copies that spread from it when it was mounted are shared or slaves, and empty. Pure.
 */
export function isAtWork(yard: string, table: readonly Mount[]): boolean {
  return table.some(
    ({ mountPoint, propagation }) =>
      mountPoint.startsWith(`${yard}/`) || (mountPoint === yard && propagation.length === 0),
  );
}

/**
 * Removes what is left; nothing to do for what is gone. To be called when no process of the restore lives.
 * `stateDirectory` is runc's of the container. Throws DrayError COMMAND_FAILED, TIMEOUT; CRIU_RESTORE_FAILED for a yard
 * that may be another restore's.
 */
export async function removeRestoreMounts(log: string, stateDirectory: string): Promise<void> {
  const removals = await Promise.allSettled([remove(join(stateDirectory, "criu-root")), removeYard(log)]);
  const failed = removals.find((removal) => removal.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

async function removeYard(log: string): Promise<void> {
  const yard = mountYardIn(log);
  if (yard === null) return;
  if ((await otherMountTables()).some((table) => isAtWork(yard, table))) {
    throw new DrayError("CRIU_RESTORE_FAILED", `another restore is at work on ${yard}`);
  }
  await remove(yard);
}

async function remove(path: string): Promise<void> {
  // The mount table knows no symbolic links, and Docker names its state below /var/run.
  const directory = await unlessGone(realpath(path));
  if (directory === undefined) return;
  if ((await mountsOf("self")).some(({ mountPoint }) => mountPoint === directory)) {
    // 32: it has gone since.
    await runCommand(["umount", "--lazy", directory], { deadlineMs: UNMOUNT_DEADLINE_MS, okCodes: [0, 32] });
  }
  await unlessGone(rmdir(directory));
}
