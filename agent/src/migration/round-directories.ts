/** Where the rounds of memory lie: beside the images, each with the round before as its parent, and the images with the last. */
import { link, mkdir, readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { exists } from "../host/exists.ts";
import { unlessGone } from "../host/unless-gone.ts";
import { MemoryImageReader } from "../memory-image/memory-image-reader.ts";
import type { ImageId } from "../memory-image/page-range.ts";
import { pagemapName, pagesName } from "../memory-image/pagemap-image.ts";
import { setParent } from "../memory-image/parent-link.ts";

const PARENT_LINK = "parent";

/** Makes the directory of a round, 0700, and lets the images follow it. Rounds are made in order, from 0. */
export async function makeRoundDirectory(imageDirectory: string, round: number): Promise<string> {
  const directory = roundDirectory(imageDirectory, round);
  await mkdir(directory, { mode: 0o700 });
  if (round > 0) await setParent(directory, `${basename(imageDirectory)}-round-${round - 1}`);
  await rm(join(imageDirectory, PARENT_LINK), { force: true });
  await setParent(imageDirectory, basename(directory));
  return directory;
}

/**
 * Leaves of the rounds, for whoever reads these images, only what belongs to some of them: CRIU looks for each process in
 * every round that it finds. The rounds stay.
 */
export async function narrowRounds(imageDirectory: string, images: readonly ImageId[]): Promise<void> {
  await rm(join(imageDirectory, PARENT_LINK), { force: true });
  const last = await lastRound(imageDirectory);
  if (images.length === 0 || last === null) return;
  for (let round = 0; round <= last; round++) {
    const directory = narrowDirectory(imageDirectory, round);
    await mkdir(directory, { mode: 0o700 });
    if (round > 0) await setParent(directory, basename(narrowDirectory(imageDirectory, round - 1)));
    await linkImages(roundDirectory(imageDirectory, round), directory, images);
  }
  await setParent(imageDirectory, basename(narrowDirectory(imageDirectory, last)));
}

/** Those that are there. Where pages lie elsewhere, the link to them leads there from any directory beside its own. */
async function linkImages(from: string, to: string, images: readonly ImageId[]): Promise<void> {
  const reader = await MemoryImageReader.open(from);
  for (const image of images) {
    if (!(await exists(join(from, pagemapName(image))))) continue;
    const { pagesId, ranges } = await reader.pagemap(image);
    ranges.letGo();
    for (const name of [pagemapName(image), pagesName(pagesId)]) await link(join(from, name), join(to, name));
  }
}

function narrowDirectory(imageDirectory: string, round: number): string {
  return `${imageDirectory}-narrow-${round}`;
}

/** Where a round lies. */
export function roundDirectory(imageDirectory: string, round: number): string {
  return `${imageDirectory}-round-${round}`;
}

/** Number of the last round that was made; null if none was. */
export async function lastRound(imageDirectory: string): Promise<number | null> {
  const prefix = `${basename(imageDirectory)}-round-`;
  const names = (await unlessGone(readdir(dirname(imageDirectory)))) ?? [];
  const rounds = names.filter((name) => name.startsWith(prefix)).map((name) => Number(name.slice(prefix.length)));
  return rounds.length === 0 ? null : Math.max(...rounds);
}

/** All that were made for these images, narrow ones too. */
export async function removeRoundDirectories(imageDirectory: string): Promise<void> {
  const beside = dirname(imageDirectory);
  const names = (await unlessGone(readdir(beside))) ?? [];
  const prefixes = ["round", "narrow"].map((what) => `${basename(imageDirectory)}-${what}-`);
  for (const name of names) {
    if (prefixes.some((prefix) => name.startsWith(prefix)))
      await rm(join(beside, name), { recursive: true, force: true });
  }
}
