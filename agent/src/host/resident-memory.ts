import { readFile } from "node:fs/promises";
import { cgroupPids } from "./cgroup.ts";

/**
 * Memory that a dump of this cgroup's processes may write, bytes: the sum of
 * their resident sets, so pages that they share are counted more than once.
 * Processes that end meanwhile count nothing.
 */
export async function residentBytes(cgroup: string): Promise<number> {
  const sizes = await Promise.all((await cgroupPids(cgroup)).map(residentBytesOfProcess));
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}

async function residentBytesOfProcess(pid: number): Promise<number> {
  try {
    const status = await readFile(`/proc/${pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return 0;
    throw error;
  }
}
