import { readFile } from "node:fs/promises";
import { cgroupPids } from "./cgroup.ts";
import { unlessGone } from "./unless-gone.ts";

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
  const status = (await unlessGone(readFile(`/proc/${pid}/status`, "utf8"))) ?? "";
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
}
