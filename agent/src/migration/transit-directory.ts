/**
 * Directories for images in transit: on tmpfs if they fit, else on disk.
 * Root only; gone after use.
 */
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { AgentConfig } from "@drayage/shared/config/agent.ts";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { type Disk, diskOf } from "../host/disk.ts";
import { parseMeminfo } from "../host-facts/proc-files.ts";

export interface TransitOptions {
  /** On tmpfs. */
  readonly runDirectory: string;
  /** On disk. */
  readonly stateDirectory: string;
  /** More than this never goes to tmpfs. */
  readonly tmpfsLimitBytes: number;
}

export function transitOptionsOf(
  config: Pick<AgentConfig, "runDirectory" | "stateDirectory" | "imageTmpfsLimitBytes">,
): TransitOptions {
  const { runDirectory, stateDirectory, imageTmpfsLimitBytes } = config;
  return { runDirectory, stateDirectory, tmpfsLimitBytes: imageTmpfsLimitBytes };
}

/** On disk, for a file without a name: if a crash leaves it its name, it is swept away. */
export function spillDirectoryOf({ stateDirectory }: TransitOptions): string {
  return join(stateDirectory, "images");
}

/** Images are a little larger than the memory: page maps, core images, open files. */
const OVERHEAD_FACTOR = 1.05;
const OVERHEAD_BYTES = 64 * 1024 * 1024;

export interface TransitDemand {
  /** Memory of which there will be images. */
  readonly memoryBytes: number;
  /** Memory that is taken beside the images: by the copy that is restored from them. */
  readonly besideBytes: number;
}

/** Of a destination, where the copy comes to life beside its images, with what its tmpfs hold. */
export function destinationDemand({
  memoryBytes,
  tmpfsBytes,
}: {
  readonly memoryBytes: number;
  readonly tmpfsBytes: number;
}): TransitDemand {
  return { memoryBytes, besideBytes: memoryBytes + tmpfsBytes };
}

/** Room for the images of a container. */
export interface TransitRoom {
  readonly neededBytes: number;
  /** Where they may go, in the order of preference. */
  readonly bases: readonly string[];
  /** The first of these with so much room; null if none has. */
  readonly base: string | null;
  /** Of the file system there, as stat(2) tells it; null if there is no base. */
  readonly device: number | null;
}

/** Looks where the images fit. Reads only. */
export async function findTransitRoom(options: TransitOptions, demand: TransitDemand): Promise<TransitRoom> {
  const neededBytes = demand.memoryBytes * OVERHEAD_FACTOR + OVERHEAD_BYTES;
  const { availableBytes } = parseMeminfo(await readFile("/proc/meminfo", "utf8"));
  // What lies in tmpfs takes memory away from those that run here.
  const mayBeTmpfs = neededBytes <= options.tmpfsLimitBytes && neededBytes + demand.besideBytes <= availableBytes;
  const bases = mayBeTmpfs ? [options.runDirectory, options.stateDirectory] : [options.stateDirectory];
  for (const base of bases) {
    const { device, freeBytes } = await diskBelow(base);
    if (freeBytes >= neededBytes) return { neededBytes, bases, base, device };
  }
  return { neededBytes, bases, base: null, device: null };
}

/** Makes `<base>/images/<name>` where the images fit. NO_SPACE if they fit nowhere. */
export async function makeTransitDirectory(
  options: TransitOptions,
  name: string,
  demand: TransitDemand,
): Promise<string> {
  const { neededBytes, bases, base } = await findTransitRoom(options, demand);
  if (base === null) {
    throw new DrayError(
      "NO_SPACE",
      `${Math.ceil(neededBytes / 2 ** 20)} MiB for the images do not fit below ${bases.join(" or below ")}`,
      {
        remedy: `Free space below ${options.stateDirectory}, or migrate to another node.`,
      },
    );
  }
  const images = join(base, "images");
  await mkdir(images, { recursive: true, mode: 0o700 });
  const directory = join(images, name);
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { mode: 0o700 });
  return directory;
}

/** Where `<base>/images` is, or will be. */
async function diskBelow(base: string): Promise<Disk> {
  return diskOf(join(base, "images")).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return diskOf(base);
    throw error;
  });
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
