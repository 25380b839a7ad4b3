/** A tree of files on its way: all of it while the container runs, then, while it is frozen, what has changed since. */
import type { Readable } from "node:stream";
import { diffLayer } from "./difference.ts";
import { EMPTY_MANIFEST, type LayerManifest } from "./manifest.ts";
import { packLayer } from "./pack.ts";
import { scanLayer } from "./scan.ts";
import { SentContents } from "./sent-contents.ts";
import type { LayerPath } from "./types.ts";

/** Those files of a tree, by its manifest, whose times prove nothing: processes can write to them without a trace. */
export type WrittenIn = (manifest: LayerManifest) => Promise<ReadonlySet<LayerPath>>;

/** For applyLayer. */
export interface FirstPass {
  readonly content: Readable;
  /** Sum of the sizes of its files. */
  readonly sizeBytes: number;
}

export interface Rest {
  readonly content: Readable;
  /** Files of which only the pages that differ are sent. */
  readonly comparedFiles: number;
  readonly comparedPages: number;
}

export class SentTree {
  readonly #directory: string;
  /** What the copy has. */
  #baseline = EMPTY_MANIFEST;
  #contents: SentContents | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** All of it. It may change while it is read. Once, and to be delivered whole before there can be a rest. */
  async first(written: WrittenIn, signal: AbortSignal): Promise<FirstPass> {
    const manifest = await scanLayer(this.#directory, signal);
    const contents = new SentContents(this.#directory, await written(manifest));
    const difference = diffLayer(EMPTY_MANIFEST, manifest);
    this.#baseline = manifest;
    this.#contents = contents;
    const content = packLayer(this.#directory, difference, { live: true, contents, signal });
    return { content, sizeBytes: difference.changedBytes };
  }

  /** What brings the copy up to date; everything, if it has nothing. Nobody may write any more. */
  async rest(written: WrittenIn, signal: AbortSignal): Promise<Rest> {
    const after = await scanLayer(this.#directory, signal);
    const contents = this.#contents;
    const everWritten = new Set([...(await written(after)), ...(contents?.written ?? [])]);
    const difference = diffLayer(this.#baseline, after, everWritten, contents?.comparable());
    const patches = (await contents?.patches(difference.compared, after, signal)) ?? [];
    const content = packLayer(this.#directory, difference, { live: false, patches, signal });
    const comparedPages = patches.flatMap(({ ranges }) => ranges).reduce((sum, [, count]) => sum + count, 0);
    return { content, comparedFiles: patches.length, comparedPages };
  }
}
