/**
 * While a container stands still, the agent and the programs that move it go
 * before whatever else wants the processors: on a busy host, which is why one
 * moves containers away, the downtime would be a multiple otherwise.
 *
 * The kernel shares time among sessions first (sched(7), "The autogroup
 * feature"), so a nice value would order the agent's threads among themselves
 * only; the session's own value is written. Where cgroups share the processors, the
 * CPUWeight of the units does the same.
 */
import { writeFile } from "node:fs/promises";

const URGENT = "-15";
const ORDINARY = "0";

/** For shell scripts that become a program of a switch in a session of their own. */
export const GO_FIRST_SCRIPT = `echo ${URGENT} 2>/dev/null >/proc/self/autogroup || :`;

let holders = 0;

/** Runs `body` urgently; several at a time share it. */
export async function goFirst<T>(body: () => Promise<T>): Promise<T> {
  if (holders++ === 0) await set(URGENT);
  try {
    return await body();
  } finally {
    if (--holders === 0) await set(ORDINARY);
  }
}

/** A kernel without autogroups has no such file: then there is nothing to set. */
async function set(value: string): Promise<void> {
  await writeFile("/proc/self/autogroup", value, { flag: "r+" }).catch(() => undefined);
}
