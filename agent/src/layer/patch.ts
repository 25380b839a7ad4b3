/** The receiving side of files that are mended in place: only some pages of them have changed. */
import { closeSync, fstatSync, ftruncateSync, writeSync } from "node:fs";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { LayerRoot } from "./beneath.ts";
import { setModified } from "./file-metadata.ts";
import type { ByteQueue } from "./byte-queue.ts";
import { printable } from "./layer-path.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import type { FilePatch } from "./types.ts";

const PIECE_BYTES = 512 * 1024;

/** Takes the pages from the stream. Throws CORRUPT_STREAM if a file is not there as it must be, or the stream ends early. */
export async function applyPatches(directory: string, patches: readonly FilePatch[], stream: ByteQueue): Promise<void> {
  if (patches.length === 0) return;
  const root = new LayerRoot(directory);
  try {
    for (const patch of patches) await applyPatch(root, patch, stream);
  } finally {
    root.close();
  }
}

async function applyPatch(root: LayerRoot, patch: FilePatch, stream: ByteQueue): Promise<void> {
  const { path, sizeBytes, modifiedNs, ranges } = patch;
  const fd = root.open(path, true);
  if (fd === undefined) throw refused(patch, "is not there");
  try {
    const stats = fstatSync(fd);
    // Another name of it may be anywhere.
    if (!stats.isFile() || stats.nlink !== 1) throw refused(patch, "is no file of one name");
    for (const [first, pages] of ranges) {
      for (let at = first * PAGE_BYTES, end = at + pages * PAGE_BYTES; at < end; ) {
        const piece = await stream.some(Math.min(PIECE_BYTES, end - at));
        if (piece === undefined) throw refused(patch, "is not in the stream to its end");
        write(fd, piece, at);
        at += piece.length;
      }
    }
    ftruncateSync(fd, sizeBytes);
    setModified(fd, modifiedNs);
  } finally {
    closeSync(fd);
  }
}

function write(fd: number, bytes: Buffer, position: number): void {
  try {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(fd, bytes, done, bytes.length - done, position + done);
    }
  } catch (error) {
    throw toDrayError(error);
  }
}

function refused({ path }: FilePatch, what: string): DrayError {
  return new DrayError("CORRUPT_STREAM", `the layer stream is refused: ${printable(path)}, to be mended, ${what}`, {
    remedy: "Nothing was written outside of the container. Migrate again; if it stays so, look at the source node.",
  });
}
