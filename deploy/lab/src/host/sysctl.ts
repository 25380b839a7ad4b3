/** Limits of the host's kernel that several systemds and CRIUs outgrow. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hasCode } from "../errors.ts";
import type { Progress } from "../progress.ts";

export interface Limit {
  /** Path below /proc/sys. */
  readonly path: string;
  readonly wanted: number;
  readonly why: string;
}

export const LIMITS: readonly Limit[] = [
  { path: "fs/pipe-max-size", wanted: 256 * 1024 * 1024, why: "CRIU's lazy pages need large pipes" },
  { path: "fs/inotify/max_user_instances", wanted: 1024, why: "every node's systemd and Docker take some" },
  { path: "fs/inotify/max_user_watches", wanted: 65_536, why: "every node's systemd and Docker take some" },
];

export interface LowLimit extends Limit {
  readonly value: number;
}

export async function lowLimits(): Promise<LowLimit[]> {
  const low: LowLimit[] = [];
  for (const limit of LIMITS) {
    const value = await readLimit(limit.path);
    if (value !== undefined && value < limit.wanted) low.push({ ...limit, value });
  }
  return low;
}

async function readLimit(path: string): Promise<number | undefined> {
  try {
    return Number((await readFile(join("/proc/sys", path), "utf8")).trim());
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

export async function raiseLimits(progress: Progress): Promise<void> {
  for (const { path, wanted, value, why } of await lowLimits()) {
    await writeFile(join("/proc/sys", path), String(wanted));
    progress.step(`raised ${path.replaceAll("/", ".")} from ${value} to ${wanted} (${why}); it stays so until reboot`);
  }
}
