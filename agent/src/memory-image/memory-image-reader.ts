/** Reads memory out of CRIU's images: a directory, and those of the rounds before it. */
import { readdir, type FileHandle, open } from "node:fs/promises";
import { join, resolve } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { contentOf, type FileRange, indexOf, resolveChain, type Segment, supersededContent } from "./image-chain.ts";
import { describeRange, endOf, type ImageId, PAGE_BYTES, type PageRange } from "./page-range.ts";
import {
  contentBytes,
  imageOfPagemapName,
  type Pagemap,
  pagemapName,
  pagesName,
  parsePagemap,
} from "./pagemap-image.ts";
import { parentOf } from "./parent-link.ts";

/** More rounds than any migration has; ends a chain of links that goes in a circle. */
const MOST_LEVELS = 256;
/** Some millions of ranges: a pagemap in which every second page of dozens of gigabytes is alone takes this. */
const PAGEMAP_LIMIT_BYTES = 128 * 1024 * 1024;

/** Where a page is. */
export type Location =
  | {
      readonly kind: "content";
      /** 0 for the directory itself, 1 for its parent, and so on. */
      readonly level: number;
      /** Path of the pages image. */
      readonly path: string;
      /** In that file, bytes. */
      readonly offset: number;
      /** How many pages lie together there, from this one on. */
      readonly pages: number;
    }
  /** In no image yet. */
  | { readonly kind: "lazy" }
  /** Not dumped: zeros in private memory, and what the file has where one is mapped. */
  | { readonly kind: "absent" };

/** What a pages image holds that no one reads any more. */
export interface Superseded {
  readonly path: string;
  readonly ranges: readonly FileRange[];
}

interface Level {
  readonly pagemap: Pagemap;
  readonly pagesPath: string;
}

/** A directory of images with its chain of parents. */
export class MemoryImageReader {
  /** This one, its parent, the parent's parent… */
  readonly directories: readonly string[];

  private constructor(directories: readonly string[]) {
    this.directories = directories;
  }

  /** Throws CORRUPT_STREAM if the parents lead astray. */
  static async open(directory: string): Promise<MemoryImageReader> {
    const directories: string[] = [];
    let next: string | null = resolve(directory);
    while (next !== null) {
      if (directories.length === MOST_LEVELS || directories.includes(next)) {
        throw new DrayError("CORRUPT_STREAM", `the parents of ${directory} have no end`);
      }
      directories.push(next);
      next = await parentOf(next);
    }
    return new MemoryImageReader(directories);
  }

  /** Whose memory the directory itself has. */
  async images(): Promise<ImageId[]> {
    const names = await readdir(this.directories[0] as string);
    return names.flatMap((name) => imageOfPagemapName(name) ?? []);
  }

  /**
   * The image as the last round left it, to be closed. NOT_FOUND if that round does not have it, CORRUPT_STREAM if any
   * does not fit to the others or to its pages.
   */
  async load(image: ImageId): Promise<MemoryImage> {
    const levels: Level[] = [];
    for (const directory of this.directories) {
      const bytes = await readPagemap(join(directory, pagemapName(image)));
      // Where a round lacks it, CRIU does not look at those before.
      if (bytes === null) break;
      const pagemap = parsePagemap(bytes);
      levels.push({ pagemap, pagesPath: join(directory, pagesName(pagemap.pagesId)) });
    }
    if (levels.length === 0) throw new DrayError("NOT_FOUND", `${this.directories[0]} has no ${pagemapName(image)}`);
    return await MemoryImage.of(levels);
  }
}

/** The memory of one process, or one piece of shared memory. */
export class MemoryImage {
  /** What the last round's own pagemap says. */
  readonly ranges: readonly PageRange[];
  /** All pages, wherever they are. */
  readonly segments: readonly Segment[];
  readonly #levels: readonly Level[];
  /** Of the pages images, one per level. */
  readonly #files: readonly FileHandle[];

  private constructor(levels: readonly Level[], segments: readonly Segment[], files: readonly FileHandle[]) {
    this.ranges = levels[0]?.pagemap.ranges ?? [];
    this.segments = segments;
    this.#levels = levels;
    this.#files = files;
  }

  static async of(levels: readonly Level[]): Promise<MemoryImage> {
    const segments = resolveChain(levels.map(({ pagemap }) => pagemap.ranges));
    const files: FileHandle[] = [];
    try {
      for (const level of levels) files.push(await openPages(level));
    } catch (error) {
      await closeAll(files);
      throw error;
    }
    return new MemoryImage(levels, segments, files);
  }

  locate(vaddr: number): Location {
    const segment = this.segments[indexOf(this.segments, vaddr)];
    if (segment === undefined || vaddr < segment.vaddr) return { kind: "absent" };
    const { level } = segment;
    if (level === null) return { kind: "lazy" };
    const skipped = Math.floor((vaddr - segment.vaddr) / PAGE_BYTES);
    return {
      kind: "content",
      level,
      path: this.#levels[level]?.pagesPath as string,
      offset: segment.offset + skipped * PAGE_BYTES,
      pages: segment.pages - skipped,
    };
  }

  /**
   * Fills `into`, a whole number of pages, with the memory from `vaddr` on. Pages that were not dumped read as zeros;
   * NOT_FOUND if any is still to be fetched, CORRUPT_STREAM if a file has become shorter.
   */
  async read(vaddr: number, into: Buffer): Promise<void> {
    const range = { vaddr, pages: into.length / PAGE_BYTES };
    if (vaddr % PAGE_BYTES !== 0 || !Number.isSafeInteger(range.pages)) {
      throw new RangeError(`memory is read in pages, not ${describeRange(range)}`);
    }
    const end = endOf(range);
    let at = vaddr;
    for (let index = indexOf(this.segments, vaddr); at < end; index++) {
      const segment = this.segments[index];
      const start = Math.min(segment?.vaddr ?? end, end);
      if (start > at) into.fill(0, at - vaddr, start - vaddr);
      at = Math.max(at, start);
      if (segment === undefined || at === end) return;
      const pages = (Math.min(endOf(segment), end) - at) / PAGE_BYTES;
      const [piece] = contentOf([segment], { vaddr: at, pages }) ?? [];
      if (piece === undefined)
        throw new DrayError("NOT_FOUND", `${describeRange({ vaddr: at, pages })} is not here yet`);
      await this.#readPiece(piece, into.subarray(at - vaddr, at - vaddr + pages * PAGE_BYTES));
      at += pages * PAGE_BYTES;
    }
  }

  /** What the pages images hold in vain, by level; the last round's comes first. */
  superseded(): Superseded[] {
    const bytes = this.#levels.map(({ pagemap }) => contentBytes(pagemap.ranges));
    const ranges = supersededContent(this.segments, bytes);
    return this.#levels.map(({ pagesPath }, level) => ({ path: pagesPath, ranges: ranges[level] ?? [] }));
  }

  async close(): Promise<void> {
    await closeAll(this.#files);
  }

  async #readPiece({ level, offset }: Segment, into: Buffer): Promise<void> {
    const file = this.#files[level as number] as FileHandle;
    for (let done = 0; done < into.length; ) {
      const { bytesRead } = await file.read(into, done, into.length - done, offset + done);
      if (bytesRead === 0) throw new DrayError("CORRUPT_STREAM", "a pages image has become shorter");
      done += bytesRead;
    }
  }
}

/** null if there is none. */
async function readPagemap(path: string): Promise<Buffer | null> {
  let file: FileHandle;
  try {
    file = await open(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  try {
    const { size } = await file.stat();
    if (size > PAGEMAP_LIMIT_BYTES) throw new DrayError("CORRUPT_STREAM", `${path} has ${size} bytes`);
    return await file.readFile();
  } finally {
    await file.close();
  }
}

/** Throws CORRUPT_STREAM unless it has what the pagemap says, no less and no more. */
async function openPages({ pagemap, pagesPath }: Level): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await open(pagesPath);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new DrayError("CORRUPT_STREAM", `there is no ${pagesPath}`, { cause: error });
  }
  const { size } = await file.stat();
  const expected = contentBytes(pagemap.ranges);
  if (size === expected) return file;
  await file.close();
  throw new DrayError("CORRUPT_STREAM", `${pagesPath} has ${size} bytes, its pagemap tells of ${expected}`);
}

async function closeAll(files: readonly FileHandle[]): Promise<void> {
  await Promise.all(files.map((file) => file.close()));
}
