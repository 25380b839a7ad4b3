/** The cache of things built once: each under its digest, whole or not at all. */
import { mkdir, mkdtemp, readdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { hasCode } from "../errors.ts";
import { lockOrWait } from "../host/lock.ts";
import { run } from "../host/run.ts";
import type { Progress } from "../progress.ts";

export function cacheDirectory(): string {
  return join(process.env["XDG_CACHE_HOME"] ?? "/var/cache", "drayage-lab");
}

export interface CachedOptions {
  /** File name of the result in the cache; contains its digest. */
  readonly key: string;
  readonly progress: Progress;
  readonly signal?: AbortSignal | undefined;
  /** Makes the result at `target`, inside the fresh directory `scratch`. */
  readonly build: (target: string, scratch: string) => Promise<void>;
}

/** Gives the path of the cached result, and builds it first if it is not there. */
export async function cached({ key, progress, signal, build }: CachedOptions): Promise<string> {
  const directory = cacheDirectory();
  const path = join(directory, key);
  if (await exists(path)) return path;
  await mkdir(directory, { recursive: true });
  await using _lock = await lockOrWait(`cache/${path}`, signal, () =>
    progress.step(`waiting for another lab that builds ${key}`),
  );
  if (await exists(path)) return path;
  await removeLeftovers(directory, key);
  const scratch = await mkdtemp(join(directory, `tmp-${key}-`));
  try {
    const target = join(scratch, "result");
    await build(target, scratch);
    signal?.throwIfAborted();
    await rename(target, path);
  } finally {
    await removeTree(scratch);
  }
  return path;
}

/** Scratch directories of builds that died; the caller holds the lock of the key. */
async function removeLeftovers(directory: string, key: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (name.startsWith(`tmp-${key}-`)) await removeTree(join(directory, name));
  }
}

/** rm that never leaves the file system: a mount that was left below is not emptied. */
export async function removeTree(path: string): Promise<void> {
  await run(["rm", "-rf", "--one-file-system", path]);
}

export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return false;
    throw error;
  }
}
