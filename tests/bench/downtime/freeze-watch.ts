/**
 * The moment in which a checkpoint stops a process, seen from the host: where no connection may be open during the
 * checkpoint, this is the last moment in which a client could have had a reply.
 */
import { readdir, readFile, readlink } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestLab } from "../../harness/test-lab.ts";

/** The process on the host that is alone in the pid namespace of `pid` in the node. */
export async function hostPid(lab: TestLab, node: string, pid: string): Promise<number> {
  const namespace = await lab.exec(node, ["readlink", `/proc/${pid}/ns/pid`]);
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    if ((await readlink(`/proc/${name}/ns/pid`).catch(() => "")) === namespace) return Number(name);
  }
  throw new Error(`${node}: no process is in ${namespace}`);
}

/** Resolves with the moment (performance.now) in which the process is first seen stopped, or gone. */
export async function stopped(pid: number, signal: AbortSignal): Promise<number> {
  for (;;) {
    if (isStopped(await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ""))) return performance.now();
    await sleep(1, undefined, { signal });
  }
}

/** By the state in /proc/<pid>/stat, which follows the name in brackets: traced, stopped, dead, or nothing at all. */
export function isStopped(stat: string): boolean {
  const state = stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3);
  return stat === "" || "tTZX".includes(state);
}
