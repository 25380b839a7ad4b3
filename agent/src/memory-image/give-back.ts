/**
 * Gives back the room of what a chain of rounds holds in vain: memory that is no more, and pages that a later round has
 * written anew, beside those of an earlier one. Without it, the rounds of a container that writes fast add up to many
 * times its memory.
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

async function punch(path: string, ranges: Iterable<FileRange>): Promise<void> {
  let file: FileHandle | undefined;
  try {
    for (const some of inBatches(ranges)) {
      file ??= await open(path, "r+");
      if (!punchSome(file, some)) return;
      await othersTurn();
    }
  } finally {
    await file?.close();
  }
}

function* inBatches(ranges: Iterable<FileRange>): Generator<FileRange[]> {
  let batch: FileRange[] = [];
  for (const range of ranges) {
    batch.push(range);
    if (batch.length < RANGES_AT_A_TIME) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
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
