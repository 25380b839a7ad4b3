/**
 * Gives back the room of what a chain of rounds holds in vain: pages that a later round has told anew, and memory that
 * is no more. Without it, the rounds of a container that writes fast add up to many times its memory.
 */
import { type FileHandle, open, readdir, readFile, rm, truncate } from "node:fs/promises";
import { constants } from "node:os";
import { join } from "node:path";
import { setImmediate as othersTurn } from "node:timers/promises";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { addon } from "../native/addon.ts";
import type { FileRange } from "./image-chain.ts";
import { MemoryImageReader } from "./memory-image-reader.ts";
import { imageOfPagemapName, pagesName, parsePagemap } from "./pagemap-image.ts";

/** Tens of microseconds of work. */
const RANGES_AT_A_TIME = 64;

/**
 * The directory has the last round, whole; nothing is read from the rounds before it any more but through it. Throws
 * CORRUPT_STREAM.
 */
export async function giveBackSuperseded(directory: string): Promise<void> {
  const reader = await MemoryImageReader.open(directory);
  const [, ...parents] = reader.directories;
  if (parents.length === 0) return;
  const images = await reader.images();
  for (const id of images) {
    const image = await reader.load(id);
    try {
      for (const { path, ranges } of image.superseded()) await punch(path, ranges);
    } finally {
      await image.close();
    }
  }
  for (const parent of parents) await forgetEnded(directory, parent);
}

async function punch(path: string, ranges: readonly FileRange[]): Promise<void> {
  if (ranges.length === 0) return;
  const file = await open(path, "r+");
  try {
    for (let at = 0; at < ranges.length; at += RANGES_AT_A_TIME) {
      if (!punchSome(file, ranges.slice(at, at + RANGES_AT_A_TIME))) return;
      await othersTurn();
    }
  } finally {
    await file.close();
  }
}

/** False where the file system cannot do it: then it keeps what it has. */
function punchSome(file: FileHandle, ranges: readonly FileRange[]): boolean {
  const numbers = Float64Array.from(ranges.flatMap(({ offset, bytes }) => [offset, bytes]));
  const result = addon().punch(file.fd, numbers, numbers.length);
  if (result === 0) return true;
  if (result === -constants.errno.EOPNOTSUPP) return false;
  throw new DrayError("INTERNAL", `the room of superseded pages cannot be given back (errno ${-result})`);
}

/** CRIU does not look behind a round that lacks an image, so what those before have of it has no reader. */
async function forgetEnded(directory: string, parent: string): Promise<void> {
  const present = new Set(await readdir(directory));
  for (const name of await readdir(parent)) {
    if (imageOfPagemapName(name) === null || present.has(name)) continue;
    const path = join(parent, name);
    // Emptied, since it may be a link.
    await truncate(join(parent, pagesName(parsePagemap(await readFile(path)).pagesId)));
    await rm(path);
  }
}
