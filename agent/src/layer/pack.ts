/** The sending side of a layer: removals, pages of files that are mended in place, then a tar of what changed. */
import { closeSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { LayerRoot } from "./beneath.ts";
import { nameList } from "./directory-attributes.ts";
import { printable } from "./layer-path.ts";
import type { SentContents } from "./sent-contents.ts";
import { BATCH_PAGES, readPages } from "./file-pages.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { encodeHead } from "./stream-head.ts";
import { createArguments, startTar, tarError } from "./tar-command.ts";
import type { FilePatch, LayerDifference } from "./types.ts";

export interface PackOptions {
  /** Files may change, shrink or vanish while they are read; without it each of these is an error. */
  readonly live: boolean;
  /** Takes note of what is sent. */
  readonly contents?: SentContents | undefined;
  /** Of the files that were to be compared. */
  readonly patches?: readonly FilePatch[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Exit code of a tar that has given up. */
const FATAL = 2;

/** A self-contained stream for applyLayer. Destroying it ends the tar behind it. */
export function packLayer(directory: string, difference: LayerDifference, options: PackOptions): Readable {
  return Readable.from(pack(directory, difference, options), { objectMode: false });
}

async function* pack(
  directory: string,
  difference: LayerDifference,
  options: PackOptions,
): AsyncGenerator<Buffer, void, void> {
  const { deleted, stripped } = difference;
  const { contents, patches = [] } = options;
  yield encodeHead({ deleted, stripped, patched: patches });
  yield* pagesOf(directory, patches);
  const ending = new AbortController();
  const signal = options.signal === undefined ? ending.signal : AbortSignal.any([options.signal, ending.signal]);
  const tar = startTar(directory, createArguments(options.live), signal);
  const { stdin, stdout } = tar.child;
  if (stdin === null || stdout === null) throw tarError(`read the layer ${directory}`, "no pipes");
  // A tar that dies early breaks this pipe; its exit code tells more.
  const listed = pipeline(nameList(difference.changed), stdin).catch((error: Error) => error);
  try {
    let broken: unknown;
    try {
      yield* contents === undefined ? (stdout as AsyncIterable<Buffer>) : contents.watch(stdout);
    } catch (thrown) {
      broken = thrown;
      stdout.destroy();
    }
    const { code, words } = await tar.ended;
    options.signal?.throwIfAborted();
    // Where tar has given up, what it has written ends in the middle; its words tell more.
    if (broken !== undefined && code !== FATAL) throw broken;
    // Exit code 1 means that files changed while they were read.
    if (code !== 0 && !(options.live && code === 1)) throw tarError(`read the layer ${directory}`, words);
    const failed = await listed;
    if (failed instanceof Error) throw tarError(`read the layer ${directory}`, failed.message);
  } finally {
    ending.abort();
    await tar.ended;
  }
}

/** Nothing may write to the files. */
function* pagesOf(directory: string, patches: readonly FilePatch[]): Generator<Buffer, void, void> {
  if (patches.every(({ ranges }) => ranges.length === 0)) return;
  const root = new LayerRoot(directory);
  try {
    for (const patch of patches) yield* pagesOfFile(root, patch);
  } finally {
    root.close();
  }
}

function* pagesOfFile(root: LayerRoot, { path, sizeBytes, ranges }: FilePatch): Generator<Buffer, void, void> {
  const fd = root.open(path, false);
  if (fd === undefined) throw tarError("read a file of the layer", `${printable(path)} is gone`);
  try {
    for (const [first, pages] of ranges) {
      for (let done = 0; done < pages; done += BATCH_PAGES) {
        const count = Math.min(BATCH_PAGES, pages - done);
        const piece = Buffer.allocUnsafe(count * PAGE_BYTES);
        readPages(fd, piece, first + done, count, sizeBytes);
        yield piece;
      }
    }
  } finally {
    closeSync(fd);
  }
}
