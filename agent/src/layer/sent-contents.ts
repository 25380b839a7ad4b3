/**
 * What was sent, while the container ran, of files that it has open or mapped for writing: a digest of each page, taken
 * from the tar on its way, so that it is one of what the copy has, whatever became of the file meanwhile. In the freeze
 * the files are read again, and only pages with another digest are sent.
 *
 * The digest is keyed, and neither key nor digests leave this process; see agent/native/page-memory.c.
 */
import { randomFillSync } from "node:crypto";
import { closeSync, fstatSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { DIGEST_BYTES, DIGEST_KEY_BYTES, addon } from "../native/addon.ts";
import { LayerRoot } from "./beneath.ts";
import { BATCH_PAGES, pageCount, readPages } from "./file-pages.ts";
import { parseLayerPath, printable } from "./layer-path.ts";
import type { LayerManifest } from "./manifest.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { MemberDigests } from "./member-digests.ts";
import { SparseMap } from "./sparse-map.ts";
import { isSame, type Metadata, metadataIn, metadataOf } from "./sent-metadata.ts";
import { filterTar, type TarMember } from "./tar-filter.ts";
import { NOWHERE } from "./path-tree.ts";
import type { FilePatch, LayerPath } from "./types.ts";

/** Smaller files are sent again as fast. */
const SMALLEST_BYTES = 64 * 1024;
/** Of all files together; their digests take 32 MiB. Files beyond it are sent again. */
const PAGES_LIMIT = 1 << 20;

interface SentFile {
  /** Before it was sent. */
  readonly metadata: Metadata;
  /** A digest per page; the last page is filled up with zeros. Undefined until the file has been sent. */
  digests: Buffer | undefined;
}

export class SentContents {
  /** Files that were open or mapped for writing: what was written to them since may have left no trace in their times. */
  readonly written: ReadonlySet<LayerPath>;
  readonly #directory: string;
  readonly #key = randomFillSync(Buffer.allocUnsafeSlow(DIGEST_KEY_BYTES));
  readonly #files = new Map<LayerPath, SentFile>();
  #pagesLeft = PAGES_LIMIT;

  /** Of a layer, and those of these files that are worth it. Before they are sent. */
  constructor(directory: string, written: ReadonlySet<LayerPath>) {
    this.written = written;
    this.#directory = directory;
    const root = new LayerRoot(directory);
    try {
      for (const path of written) {
        const fd = root.open(path, false);
        if (fd === undefined) continue;
        try {
          const { nlink, size } = fstatSync(fd);
          if (nlink !== 1 || size < SMALLEST_BYTES) continue;
          const metadata = metadataOf(fd);
          if (metadata !== undefined) this.#files.set(path, { metadata, digests: undefined });
        } finally {
          closeSync(fd);
        }
      }
    } finally {
      root.close();
    }
  }

  /** Takes the digests of what passes: a tar as tar-filter.ts knows it, unchanged but for the padding behind its end. */
  async *watch(tar: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
    if (this.#files.size === 0) {
      yield* tar;
      return;
    }
    let file: SentFile | undefined;
    let digests: MemberDigests | undefined;
    let isHeader = false;
    const endMember = () => {
      if (file !== undefined) file.digests = digests?.end();
    };
    const onMember = (member: TarMember) => {
      endMember();
      file = member.type === "file" ? this.#files.get(parseLayerPath(member.name)) : undefined;
      // It may have been others for a moment, which the copy has now.
      if (file !== undefined && !isSame(file.metadata, metadataIn(member))) file = undefined;
      digests = file === undefined ? undefined : this.#digestsOf(member);
      isHeader = true;
      return true;
    };
    for await (const chunk of filterTar(tar, onMember)) {
      if (!isHeader) digests?.add(chunk);
      isHeader = false;
      yield chunk;
    }
    endMember();
  }

  /** Files that were sent, are there, and have owner, mode and attributes as they were sent: only their bytes can be others now. */
  comparable(): Set<LayerPath> {
    const found = new Set<LayerPath>();
    const root = new LayerRoot(this.#directory);
    try {
      for (const [path, { metadata, digests }] of this.#files) {
        const fd = digests === undefined ? undefined : root.open(path, false);
        if (fd === undefined) continue;
        try {
          const now = metadataOf(fd);
          if (now !== undefined && isSame(metadata, now)) found.add(path);
        } finally {
          closeSync(fd);
        }
      }
    } finally {
      root.close();
    }
    return found;
  }

  /** What of these comparable files differs from what was sent. Nothing may write to them. */
  async patches(paths: readonly LayerPath[], now: LayerManifest, signal?: AbortSignal): Promise<FilePatch[]> {
    const root = new LayerRoot(this.#directory);
    try {
      const patches: FilePatch[] = [];
      for (const path of paths) patches.push(await this.#patch(root, path, now, signal));
      return patches;
    } finally {
      root.close();
    }
  }

  async #patch(root: LayerRoot, path: LayerPath, now: LayerManifest, signal?: AbortSignal): Promise<FilePatch> {
    const entry = now.tree.find(path);
    const digests = this.#files.get(path)?.digests;
    const fd = root.open(path, false);
    if (fd === undefined || digests === undefined || entry === NOWHERE) {
      if (fd !== undefined) closeSync(fd);
      throw new DrayError("INTERNAL", `${printable(path)} is not there to be compared`);
    }
    try {
      const sizeBytes = now.sizeBytes(entry);
      const ranges: [number, number][] = [];
      const content = Buffer.allocUnsafe(BATCH_PAGES * PAGE_BYTES);
      const verdicts = Buffer.alloc(BATCH_PAGES);
      const pages = pageCount(sizeBytes);
      for (let page = 0; page < pages; page += BATCH_PAGES) {
        signal?.throwIfAborted();
        const count = Math.min(BATCH_PAGES, pages - page);
        readPages(fd, content, page, count, sizeBytes);
        const known = Math.max(0, Math.min(count, digests.length / DIGEST_BYTES - page));
        verdicts.fill(1, known, count);
        if (known > 0) {
          addon().compare(content, 0, known, this.#key, digests, page * DIGEST_BYTES, verdicts, 0);
        }
        for (let index = 0; index < count; index++) if (verdicts[index] === 1) addPage(ranges, page + index);
        await nextTurn();
      }
      // Not the manifest's, which is no date beyond 2262.
      return { path, sizeBytes, modifiedNs: fstatSync(fd, { bigint: true }).mtimeNs, ranges };
    } finally {
      closeSync(fd);
    }
  }

  /** None if there would be too many. */
  #digestsOf(member: TarMember): MemberDigests | undefined {
    const sparse = SparseMap.of(member);
    const pages = pageCount(sparse?.sizeBytes ?? member.storedBytes);
    if (pages > this.#pagesLeft) return undefined;
    this.#pagesLeft -= pages;
    return new MemberDigests(member.storedBytes, pages, sparse, this.#key);
  }
}

function addPage(ranges: [number, number][], page: number): void {
  const last = ranges.at(-1);
  if (last !== undefined && last[0] + last[1] === page) last[1]++;
  else ranges.push([page, 1]);
}
