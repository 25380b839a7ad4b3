/**
 * What was sent, while the container ran, of files that it has open or mapped for writing: a digest of each page, taken
 * from the tar on its way, so that it is one of what the copy has, whatever became of the file meanwhile. In the freeze
 * the files are read again, and only pages with another digest are sent.
 *
 * The digest is keyed, and neither key nor digests leave this process; see agent/native/page-memory.c.
 */
import { randomFillSync } from "node:crypto";
import { closeSync, fstatSync, readSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { DIGEST_BYTES, DIGEST_KEY_BYTES, pageMemory } from "../memory/native.ts";
import { attributesOf, LayerRoot } from "./beneath.ts";
import { parseLayerPath, printable } from "./layer-path.ts";
import type { LayerManifest } from "./manifest.ts";
import { PAGE_BYTES } from "./stream-head.ts";
import { SparseMap } from "./sparse-map.ts";
import { filterTar, type TarMember } from "./tar-filter.ts";
import { NOWHERE } from "./path-tree.ts";
import type { FilePatch, LayerPath } from "./types.ts";

/** Smaller files are sent again as fast. */
const SMALLEST_BYTES = 64 * 1024;
/** Of all files together; their digests take 32 MiB. Files beyond it are sent again. */
const PAGES_LIMIT = 1 << 20;
const BATCH_PAGES = 128;
const CAPABILITY = "security.capability\0";

interface SentFile {
  readonly attributes: Buffer;
  /** A digest per page; the last page is filled up with zeros. Undefined until the file has been sent. */
  digests: Buffer | undefined;
}

export class SentContents {
  readonly #directory: string;
  readonly #key = randomFillSync(Buffer.allocUnsafeSlow(DIGEST_KEY_BYTES));
  readonly #files = new Map<LayerPath, SentFile>();
  #pagesLeft = PAGES_LIMIT;

  /** Of a layer, and those of these files that are worth it. Before they are sent: a later change of attributes shows. */
  constructor(directory: string, written: ReadonlySet<LayerPath>) {
    this.#directory = directory;
    const root = new LayerRoot(directory);
    try {
      for (const path of written) {
        const fd = root.open(path, false);
        if (fd === undefined) continue;
        try {
          const stats = fstatSync(fd);
          if (!stats.isFile() || stats.nlink !== 1 || stats.size < SMALLEST_BYTES) continue;
          const attributes = attributesOf(fd);
          // The kernel takes capabilities off a file that is written to, on the copy, too.
          if (!attributes.includes(CAPABILITY)) this.#files.set(path, { attributes, digests: undefined });
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
    let reader: MemberReader | undefined;
    let isHeader = false;
    const onMember = (member: TarMember) => {
      reader?.end();
      reader = this.#readerFor(member);
      isHeader = true;
      return true;
    };
    for await (const chunk of filterTar(tar, onMember)) {
      if (!isHeader) reader?.add(chunk);
      isHeader = false;
      yield chunk;
    }
    reader?.end();
  }

  /** Files that were sent, are there, and have the attributes that they had: only their bytes can be others now. */
  comparable(): Set<LayerPath> {
    const found = new Set<LayerPath>();
    const root = new LayerRoot(this.#directory);
    try {
      for (const [path, { attributes, digests }] of this.#files) {
        const fd = digests === undefined ? undefined : root.open(path, false);
        if (fd === undefined) continue;
        try {
          if (attributesOf(fd).equals(attributes)) found.add(path);
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
      const pages = pagesOf(sizeBytes);
      for (let page = 0; page < pages; page += BATCH_PAGES) {
        signal?.throwIfAborted();
        const count = Math.min(BATCH_PAGES, pages - page);
        readPages(fd, content, page, count, sizeBytes);
        const known = Math.max(0, Math.min(count, digests.length / DIGEST_BYTES - page));
        verdicts.fill(1, known, count);
        if (known > 0) {
          pageMemory().compare(content, 0, known, this.#key, digests, page * DIGEST_BYTES, verdicts, 0);
        }
        for (let index = 0; index < count; index++) if (verdicts[index] === 1) addPage(ranges, page + index);
        await nextTurn();
      }
      return { path, sizeBytes, modifiedNs: now.mtimeNs(entry), ranges };
    } finally {
      closeSync(fd);
    }
  }

  #readerFor(member: TarMember): MemberReader | undefined {
    if (member.type !== "file") return undefined;
    const path = parseLayerPath(member.name);
    const file = this.#files.get(path);
    if (file === undefined) return undefined;
    const sparse = SparseMap.of(member);
    const pages = pagesOf(sparse?.sizeBytes ?? member.storedBytes);
    if (pages > this.#pagesLeft) return undefined;
    this.#pagesLeft -= pages;
    return new MemberReader(file, member.storedBytes, pages, sparse, this.#key);
  }
}

/** The content of one file on its way, cut into pages. */
class MemberReader {
  readonly #file: SentFile;
  readonly #sparse: SparseMap | undefined;
  readonly #key: Buffer;
  readonly #digests: Buffer;
  readonly #batch = Buffer.alloc(BATCH_PAGES * PAGE_BYTES);
  readonly #verdicts = Buffer.alloc(BATCH_PAGES);
  /** Bytes of the member that are still to come; what follows is padding. */
  #missingBytes: number;
  #fill = 0;
  #pagesDone = 0;

  constructor(file: SentFile, storedBytes: number, pages: number, sparse: SparseMap | undefined, key: Buffer) {
    this.#file = file;
    this.#sparse = sparse;
    this.#key = key;
    this.#missingBytes = storedBytes;
    this.#digests = Buffer.alloc(pages * DIGEST_BYTES);
  }

  add(chunk: Buffer): void {
    const content = chunk.subarray(0, this.#missingBytes);
    this.#missingBytes -= content.length;
    if (this.#sparse === undefined) this.#addBytes(content);
    else for (const piece of this.#sparse.expand(content)) this.#addPiece(piece);
  }

  /** The file counts as sent if all of it has passed. */
  end(): void {
    if (this.#sparse !== undefined) for (const piece of this.#sparse.end()) this.#addPiece(piece);
    if (this.#fill % PAGE_BYTES !== 0) this.#addZeros(PAGE_BYTES - (this.#fill % PAGE_BYTES));
    this.#digest();
    if (this.#missingBytes === 0 && this.#pagesDone * DIGEST_BYTES === this.#digests.length) {
      this.#file.digests = this.#digests;
    }
  }

  #addPiece(piece: Buffer | number): void {
    if (typeof piece === "number") this.#addZeros(piece);
    else this.#addBytes(piece);
  }

  #addBytes(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      const taken = bytes.copy(this.#batch, this.#fill, at);
      at += taken;
      this.#fill += taken;
      if (this.#fill === this.#batch.length) this.#digest();
    }
  }

  #addZeros(bytes: number): void {
    for (let left = bytes; left > 0; ) {
      const taken = Math.min(left, this.#batch.length - this.#fill);
      this.#batch.fill(0, this.#fill, this.#fill + taken);
      left -= taken;
      this.#fill += taken;
      if (this.#fill === this.#batch.length) this.#digest();
    }
  }

  #digest(): void {
    const pages = this.#fill / PAGE_BYTES;
    const at = this.#pagesDone * DIGEST_BYTES;
    if (pages === 0 || at + pages * DIGEST_BYTES > this.#digests.length) return;
    pageMemory().compare(this.#batch, 0, pages, this.#key, this.#digests, at, this.#verdicts, 0);
    this.#pagesDone += pages;
    this.#fill = 0;
  }
}

/** Whole pages of a file; what is behind its end is zero. Throws INTERNAL if the file is shorter than it was said to be. */
export function readPages(fd: number, space: Buffer, page: number, count: number, sizeBytes: number): void {
  const start = page * PAGE_BYTES;
  const bytes = Math.min(count * PAGE_BYTES, sizeBytes - start);
  for (let filled = 0; filled < bytes; ) {
    const read = readSync(fd, space, filled, bytes - filled, start + filled);
    if (read === 0) throw new DrayError("INTERNAL", "a file became shorter though its container stands still");
    filled += read;
  }
  space.fill(0, bytes, count * PAGE_BYTES);
}

function pagesOf(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES);
}

function addPage(ranges: [number, number][], page: number): void {
  const last = ranges.at(-1);
  if (last !== undefined && last[0] + last[1] === page) last[1]++;
  else ranges.push([page, 1]);
}
