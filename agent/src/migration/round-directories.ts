/** Where the rounds of memory lie: beside the images, each with the round before as its parent, and the images with the last. */
import { mkdir, readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setParent } from "../memory-image/parent-link.ts";
import { unlessGone } from "../host/unless-gone.ts";

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

/** All that were made for these images. */
export async function removeRoundDirectories(imageDirectory: string): Promise<void> {
  const beside = dirname(imageDirectory);
  const names = (await unlessGone(readdir(beside))) ?? [];
  for (const name of names) {
    if (name.startsWith(`${basename(imageDirectory)}-round-`))
      await rm(join(beside, name), { recursive: true, force: true });
  }
}
