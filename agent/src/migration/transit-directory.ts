/**
 * Directories for images in transit: on tmpfs if they fit, else on disk.
 * Root only; gone after use.
 */
import { mkdir, readdir, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import type { AgentConfig } from "@drayage/shared/config/agent.ts";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

export interface TransitOptions {
  /** On tmpfs. */
  readonly runDirectory: string;
  /** On disk. */
  readonly stateDirectory: string;
  /** More than this never goes to tmpfs. */
  readonly tmpfsLimitBytes: number;
}

export function transitOptionsOf(config: AgentConfig): TransitOptions {
  const { runDirectory, stateDirectory, imageTmpfsLimitBytes } = config;
  return { runDirectory, stateDirectory, tmpfsLimitBytes: imageTmpfsLimitBytes };
}

/** Images are a little larger than the memory: page maps, core images, open files. */
const OVERHEAD_FACTOR = 1.05;
const OVERHEAD_BYTES = 64 * 1024 * 1024;

/** Makes `<base>/images/<name>` where `expectedBytes` of memory fit. NO_SPACE if they fit nowhere. */
export async function makeTransitDirectory(
  options: TransitOptions,
  name: string,
  expectedBytes: number,
): Promise<string> {
  const neededBytes = expectedBytes * OVERHEAD_FACTOR + OVERHEAD_BYTES;
  const bases =
    neededBytes <= options.tmpfsLimitBytes ? [options.runDirectory, options.stateDirectory] : [options.stateDirectory];
  for (const base of bases) {
    const images = join(base, "images");
    await mkdir(images, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(images);
    if (bavail * bsize < neededBytes) continue;
    const directory = join(images, name);
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { mode: 0o700 });
    return directory;
  }
  throw new DrayError(
    "NO_SPACE",
    `${Math.ceil(neededBytes / 2 ** 20)} MiB for the images fit neither below ${bases.join(" nor ")}`,
    {
      remedy: `Free space below ${options.stateDirectory}, or migrate to another node.`,
    },
  );
}

/** Removes the directories that belong to none of these migrations: made just before a crash, before any journal knew of them. */
export async function sweepTransitDirectories(options: TransitOptions, migrationIds: readonly string[]): Promise<void> {
  for (const base of [options.runDirectory, options.stateDirectory]) {
    const images = join(base, "images");
    const names = await readdir(images).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw error;
    });
    for (const name of names) {
      if (!migrationIds.some((id) => name.startsWith(id)))
        await rm(join(images, name), { recursive: true, force: true });
    }
  }
}

/** Removes what `makeTransitDirectory` made for this name, wherever it is. */
export async function removeTransitDirectory(options: TransitOptions, name: string): Promise<void> {
  for (const base of [options.runDirectory, options.stateDirectory]) {
    await rm(join(base, "images", name), { recursive: true, force: true });
  }
}
