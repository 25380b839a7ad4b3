/** The sending side of a layer: removals, then a tar of what changed. */
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { nameList } from "./directory-attributes.ts";
import { encodeHead } from "./stream-head.ts";
import { createArguments, startTar, tarError } from "./tar-command.ts";
import type { LayerDifference } from "./types.ts";

export interface PackOptions {
  /** Files may change, shrink or vanish while they are read; without it each of these is an error. */
  readonly live: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** A self-contained stream for applyLayer. Destroying it ends the tar behind it. */
export function packLayer(directory: string, difference: LayerDifference, options: PackOptions): Readable {
  return Readable.from(pack(directory, difference, options), { objectMode: false });
}

async function* pack(
  directory: string,
  difference: LayerDifference,
  options: PackOptions,
): AsyncGenerator<Buffer, void, void> {
  yield encodeHead(difference);
  const ending = new AbortController();
  const signal = options.signal === undefined ? ending.signal : AbortSignal.any([options.signal, ending.signal]);
  const tar = startTar(createArguments(directory, options.live), signal);
  const { stdin, stdout } = tar.child;
  if (stdin === null || stdout === null) throw tarError(`read the layer ${directory}`, "no pipes");
  // A tar that dies early breaks this pipe; its exit code tells more.
  const listed = pipeline(nameList(difference.changed), stdin).catch((error: Error) => error);
  try {
    for await (const chunk of stdout as AsyncIterable<Buffer>) yield chunk;
    const { code, words } = await tar.ended;
    options.signal?.throwIfAborted();
    // Exit code 1 means that files changed while they were read.
    if (code !== 0 && !(options.live && code === 1)) throw tarError(`read the layer ${directory}`, words);
    const broken = await listed;
    if (broken instanceof Error) throw tarError(`read the layer ${directory}`, broken.message);
  } finally {
    ending.abort();
    await tar.ended;
  }
}
