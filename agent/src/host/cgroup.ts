/** Container cgroups: freeze, verify, thaw, kill. cgroup v2; of v1 the freezer hierarchy. */
import { existsSync, watch, writeFileSync } from "node:fs";
import { readdir, readFile, statfs, writeFile } from "node:fs/promises";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { bootClockMs } from "./boot-clock.ts";

export interface CgroupWait {
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

const CGROUP2_SUPER_MAGIC = 0x63677270;
/** Covers a notification missed between reading and watching, and v1, which sends none. */
const RECHECK_MS = 10;

/** Path of a process from /proc/<pid>/cgroup: "0::" for v2, "N:freezer:" for v1; null if absent. */
export function parseCgroupPath(text: string, version: 1 | 2): string | null {
  for (const line of text.split("\n")) {
    const [, controllers, ...path] = line.split(":");
    if (controllers === undefined || path.length === 0) continue;
    const matches = version === 2 ? controllers === "" : controllers.split(",").includes("freezer");
    if (matches) return path.join(":");
  }
  return null;
}

/** Where the hierarchy with the freezer is mounted. */
export async function cgroupRoot(): Promise<string> {
  return (await isV1("/sys/fs/cgroup")) ? "/sys/fs/cgroup/freezer" : "/sys/fs/cgroup";
}

/** Absolute directory of the cgroup in which a process is. Throws NOT_FOUND if it is gone. */
export async function cgroupOfPid(pid: number): Promise<string> {
  const root = await cgroupRoot();
  let text: string;
  try {
    text = await readFile(`/proc/${pid}/cgroup`, "utf8");
  } catch (cause) {
    throw new DrayError("NOT_FOUND", `process ${pid} is gone`, { cause });
  }
  const path = parseCgroupPath(text, root === "/sys/fs/cgroup" ? 2 : 1);
  if (path === null || path === "/") {
    throw new DrayError("FREEZE_FAILED", `process ${pid} is in no cgroup of its own`);
  }
  return root + path;
}

/** Freezes and returns when the kernel says frozen. Throws FREEZE_FAILED. */
export async function freezeCgroup(directory: string, wait: CgroupWait): Promise<void> {
  await writeState(directory, true);
  await waitUntil(directory, wait, () => isFrozen(directory), "did not freeze");
}

/** Thaws and returns when the kernel says so, or all that was in it has ended since. Throws FREEZE_FAILED. */
export async function thawCgroup(directory: string, wait: CgroupWait): Promise<void> {
  await writeState(directory, false);
  await waitUntil(directory, wait, async () => !(await isFrozenIfThere(directory)), "did not thaw");
}

/**
 * Runs the body while all in it stands still. One that stood still before, which is somebody else's doing, does so
 * afterwards; whether nobody has opened it in between is for the body to ask. With `stopping` this process ends: the
 * freezer is opened at once then. Throws FREEZE_FAILED, and what the body throws.
 */
export async function whileFrozen<T>(
  directory: string,
  wait: CgroupWait & { readonly stopping?: AbortSignal },
  body: () => Promise<T>,
): Promise<T> {
  if (await isFrozen(directory)) return await body();
  const { stopping } = wait;
  const letGo = () => thawCgroupNow(directory);
  stopping?.addEventListener("abort", letGo, { once: true });
  let result: T;
  try {
    await freezeCgroup(directory, wait);
    result = await body();
  } catch (thrown) {
    // What has failed is what there is to tell.
    await thawCgroup(directory, wait).catch(() => undefined);
    throw thrown;
  } finally {
    stopping?.removeEventListener("abort", letGo);
  }
  await thawCgroup(directory, wait);
  return result;
}

/** Gives the order alone, and waits for nothing: for a process that ends. */
export function thawCgroupNow(directory: string): void {
  const isV2 = existsSync(`${directory}/cgroup.freeze`);
  try {
    writeFileSync(isV2 ? `${directory}/cgroup.freeze` : `${directory}/freezer.state`, isV2 ? "0" : "THAWED", {
      flag: "r+",
    });
  } catch {
    // Its container has ended.
  }
}

/** What the kernel says now. */
export async function isFrozen(directory: string): Promise<boolean> {
  if (await isV1(directory)) return (await readFile(`${directory}/freezer.state`, "utf8")).trim() === "FROZEN";
  return /^frozen 1$/m.test(await readFile(`${directory}/cgroup.events`, "utf8"));
}

async function isFrozenIfThere(directory: string): Promise<boolean> {
  try {
    return await isFrozen(directory);
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** Pids of the processes in it and below; none if it is gone. */
export async function cgroupPids(directory: string): Promise<number[]> {
  try {
    const own = (await readFile(`${directory}/cgroup.procs`, "utf8")).split("\n").filter(Boolean).map(Number);
    const below = (await readdir(directory, { withFileTypes: true })).filter((entry) => entry.isDirectory());
    const nested = await Promise.all(below.map((entry) => cgroupPids(`${directory}/${entry.name}`)));
    return [...own, ...nested.flat()];
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** Kills everything in it, frozen or not, and returns when none is left. Throws FREEZE_FAILED. */
export async function killCgroup(directory: string, wait: CgroupWait): Promise<void> {
  try {
    if (await isV1(directory)) await killEach(directory);
    else await writeFile(`${directory}/cgroup.kill`, "1", { flag: "r+" });
  } catch (error) {
    if (isGone(error)) return;
    throw error;
  }
  await waitUntil(directory, wait, async () => (await cgroupPids(directory)).length === 0, "did not die");
}

async function killEach(directory: string): Promise<void> {
  for (const pid of await cgroupPids(directory)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
  // Frozen tasks of v1 die when they thaw.
  await writeState(directory, false);
}

async function writeState(directory: string, frozen: boolean): Promise<void> {
  try {
    if (await isV1(directory)) {
      await writeFile(`${directory}/freezer.state`, frozen ? "FROZEN" : "THAWED", { flag: "r+" });
    } else await writeFile(`${directory}/cgroup.freeze`, frozen ? "1" : "0", { flag: "r+" });
  } catch (cause) {
    throw new DrayError("FREEZE_FAILED", `cannot ${frozen ? "freeze" : "thaw"} ${directory}`, { cause });
  }
}

async function isV1(directory: string): Promise<boolean> {
  return (await statfs(directory)).type !== CGROUP2_SUPER_MAGIC;
}

function isGone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOENT" || code === "ENODEV";
}

async function waitUntil(
  directory: string,
  wait: CgroupWait,
  reached: () => Promise<boolean>,
  otherwise: string,
): Promise<void> {
  const endMs = bootClockMs() + wait.deadlineMs;
  while (!(await reached())) {
    if (wait.signal?.aborted) throw new DrayError("CANCELLED", `stopped while ${directory} ${otherwise}`);
    if (bootClockMs() >= endMs)
      throw new DrayError("FREEZE_FAILED", `${directory} ${otherwise} in ${wait.deadlineMs} ms`);
    await eventOrRecheck(directory);
  }
}

/** The kernel notifies on cgroup.events when frozen or populated changes. */
function eventOrRecheck(directory: string): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(finish, RECHECK_MS);
    let watcher: ReturnType<typeof watch> | undefined;
    try {
      watcher = watch(`${directory}/cgroup.events`, finish);
      watcher.once("error", finish);
    } catch {
      // v1, or the cgroup has gone: the timer serves.
    }
    function finish() {
      clearTimeout(timer);
      watcher?.close();
      resolve();
    }
  });
}
