/**
 * Processes whose private memory CRIU will not leave where it is, whatever it is asked.
 *
 * CRIU keeps the pages to which a stack pointer points out of a lazy dump. It compares the offset within the page
 * instead of the page (criu/mem.c, is_stack, as of 4.2.1): a process is dumped whole if the stack pointer of one of its
 * threads is at the beginning of a page. Of a thread that is stopped anywhere that is one in 256, and threads that wait
 * at the same place all have the same offset. Nothing goes wrong then; it takes longer, and takes room.
 */
import { readdir, readFile } from "node:fs/promises";
import { cgroupPids } from "../host/cgroup.ts";
import { unlessGone } from "../host/unless-gone.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";

/** From /proc/PID/task/TID/syscall, see proc_pid_syscall(5): null of a thread that is at work. Pure. */
export function stackPointer(syscall: string): bigint | null {
  const words = syscall.trim().split(" ");
  const pointer = words.at(-2);
  return pointer?.startsWith("0x") === true ? BigInt(pointer) : null;
}

/** Those of the cgroup's processes of which that is so at this moment; of threads at work nobody knows. Host pids. */
export async function processesWithAlignedStack(cgroup: string): Promise<number[]> {
  const pids = await cgroupPids(cgroup);
  const aligned = await Promise.all(pids.map(hasAlignedStack));
  return pids.filter((_, index) => aligned[index]);
}

async function hasAlignedStack(pid: number): Promise<boolean> {
  for (const thread of (await unlessGone(readdir(`/proc/${pid}/task`))) ?? []) {
    const syscall = await unlessGone(readFile(`/proc/${pid}/task/${thread}/syscall`, "utf8"));
    const pointer = stackPointer(syscall ?? "");
    if (pointer !== null && pointer % BigInt(PAGE_BYTES) === 0n) return true;
  }
  return false;
}
