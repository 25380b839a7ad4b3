/** Finds a node's init among the processes of its cgroup. */
import { readFile } from "node:fs/promises";
import { hasCode } from "../errors.ts";
import { processesIn } from "./cgroup.ts";

/** The pids of a process in every pid namespace it is seen in, the reader's first; from /proc/<pid>/status. */
export function namespacePids(status: string): number[] {
  const line = /^NSpid:\s*(.+)$/m.exec(status)?.[1] ?? "";
  return line.split(/\s+/).filter(Boolean).map(Number);
}

/** Whether the process is pid 1 of a pid namespace directly below the reader's. */
export function isInit(status: string, depth: number): boolean {
  const pids = namespacePids(status);
  return pids.length === depth + 1 && pids.at(-1) === 1;
}

export async function findInit(cgroup: string): Promise<number | undefined> {
  const depth = namespacePids(await readFile("/proc/self/status", "utf8")).length;
  for (const pid of await processesIn(cgroup)) {
    try {
      if (isInit(await readFile(`/proc/${pid}/status`, "utf8"), depth)) return pid;
    } catch (error) {
      if (!hasCode(error, "ENOENT", "ESRCH")) throw error;
    }
  }
  return undefined;
}
