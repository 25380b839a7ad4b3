/** Takes the sockets of processes out of CRIU's repair mode; see agent/runc/end-repair.c. */
import { runCommand } from "../host/run-command.ts";

const PROGRAM = "/usr/lib/drayage/drayage-end-repair";
const LIMIT_MS = 10_000;

/**
 * After a CRIU that did not end by itself, before its processes are thawed:
 * their connections are lost otherwise. They may be frozen, and it may be done
 * again. Returns how many sockets were in repair mode. Throws DrayError
 * COMMAND_FAILED, TIMEOUT.
 */
export async function endRepairMode(pids: readonly number[], program: string = PROGRAM): Promise<number> {
  const { stdout } = await runCommand([program], { deadlineMs: LIMIT_MS, stdin: pids.join("\n") });
  return Number(stdout);
}
