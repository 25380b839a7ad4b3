/** Reads memory out of CRIU's images: a directory, and those of the rounds before it. */
import { readSync } from "node:fs";
import { readdir, type FileHandle, open } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { isInMemory } from "@drayage/shared/page-stream/memory-files.ts";
import { exists } from "../host/exists.ts";
import { type FileRange, resolveLevel, supersededContent } from "./image-chain.ts";
import { letGo } from "./let-go.ts";
import { describeRange, endOf, type ImageId, PAGE_BYTES } from "./page-range.ts";
import {
  contentBytes,
  imageOfPagemapName,
  type Pagemap,
  pagemapName,
  pagesName,
  parsePagemap,
} from "./pagemap-image.ts";
import { parentOf } from "./parent-link.ts";
import { RangeList } from "./range-list.ts";
import { SegmentList } from "./segment-list.ts";

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
  /** Once. */
  readonly ranges: Iterable<FileRange>;
}

/** A file of an image, open. */
export interface ImageFile {
  readonly path: string;
  readonly file: FileHandle;
  /** Not on a disk: read and written at once. */
  readonly inMemory: boolean;
}

/** The pages image of a level. */
interface Pages extends ImageFile {
  readonly bytes: number;
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

  /** The last round's own pagemap of this image, which it has; its ranges are to be let go. Throws CORRUPT_STREAM. */
  async pagemap(image: ImageId): Promise<Pagemap> {
    const bytes = await readPagemap(join(this.directories[0] as string, pagemapName(image)));
    try {
      return parsePagemap(bytes);
    } finally {
      letGo(bytes);
    }
  }

  /**
   * The image as the last round left it, to be closed. NOT_FOUND if that round does not have it, CORRUPT_STREAM if any
   * does not fit to the others or to its pages.
   */
  async load(image: ImageId): Promise<MemoryImage> {
    const pagemaps: string[] = [];
    for (const directory of this.directories) {
      const path = join(directory, pagemapName(image));
      // Where a round lacks it, CRIU does not look at those before.
      if (!(await exists(path))) break;
      pagemaps.push(path);
    }
    if (pagemaps.length === 0) throw new DrayError("NOT_FOUND", `${this.directories[0]} has no ${pagemapName(image)}`);
    return await MemoryImage.of(pagemaps);
  }
}

/** The memory of one process, or one piece of shared memory. */
export class MemoryImage {
  /** What the last round's own pagemap says. */
  readonly ranges: RangeList;
  /** All pages, wherever they are. */
  readonly segments: SegmentList;
  /** One per level. */
  readonly #pages: readonly Pages[];

  private constructor(ranges: RangeList, segments: SegmentList, pages: readonly Pages[]) {
    this.ranges = ranges;
    this.segments = segments;
    this.#pages = pages;
  }

  /** By the paths of its pagemaps, that of the last round first. */
  static async of(pagemaps: readonly string[]): Promise<MemoryImage> {
    let ranges = new RangeList(0);
    let segments = new SegmentList(0);
    const pages: Pages[] = [];
    try {
      // From the first round on, so that no more than one pagemap is held at a time.
      for (const [level, path] of [...pagemaps.entries()].reverse()) {
        const bytes = await readPagemap(path);
        const pagemap = parsePagemap(bytes);
        letGo(bytes);
        ranges.letGo();
        ranges = pagemap.ranges;
        const below = segments;
        segments = resolveLevel(ranges, level, below);
        below.letGo();
        pages.unshift(await openPages(join(dirname(path), pagesName(pagemap.pagesId)), ranges));
      }
      return new MemoryImage(ranges, segments, pages);
    } catch (error) {
      ranges.letGo();
      segments.letGo();
      await closeAll(pages);
      throw error;
    }
  }

  /** Whether reading it never waits for a disk. */
  get isInMemory(): boolean {
    return this.#pages.every(({ inMemory, bytes }) => inMemory || bytes === 0);
  }

  locate(vaddr: number): Location {
    const segment = this.segments.at(this.segments.indexOf(vaddr));
    if (segment === undefined || vaddr < segment.vaddr) return { kind: "absent" };
    const { level } = segment;
    if (level === null) return { kind: "lazy" };
    const skipped = Math.floor((vaddr - segment.vaddr) / PAGE_BYTES);
    return {
      kind: "content",
      level,
      path: this.#pages[level]?.path as string,
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
    for (let index = this.segments.indexOf(vaddr); at < end; index++) {
      const segment = this.segments.at(index);
      const start = Math.min(segment?.vaddr ?? end, end);
      if (start > at) into.fill(0, at - vaddr, start - vaddr);
      at = Math.max(at, start);
      if (segment === undefined || at === end) return;
      const pages = (Math.min(endOf(segment), end) - at) / PAGE_BYTES;
      if (segment.level === null)
        throw new DrayError("NOT_FOUND", `${describeRange({ vaddr: at, pages })} is not here yet`);
      const piece = into.subarray(at - vaddr, at - vaddr + pages * PAGE_BYTES);
      await this.#readPiece(segment.level, segment.offset + at - segment.vaddr, piece);
      at += pages * PAGE_BYTES;
    }
  }

  /** The pages images that lie in memory, to be written to and closed, by level; null for those that do not, or are empty. */
  async openInMemory(): Promise<(ImageFile | null)[]> {
    const files: (ImageFile | null)[] = [];
    try {
      for (const { path, inMemory, bytes } of this.#pages)
        files.push(inMemory && bytes > 0 ? { path, inMemory, file: await open(path, "r+") } : null);
      return files;
    } catch (error) {
      await Promise.all(files.map((each) => each?.file.close()));
      throw error;
    }
  }

  /** What the pages images hold in vain, by level; the last round's comes first. */
  superseded(): Superseded[] {
    return this.#pages.map(({ path, bytes }, level) => ({
      path,
      ranges: supersededContent(this.segments, level, bytes),
    }));
  }

  async close(): Promise<void> {
    this.ranges.letGo();
    this.segments.letGo();
    await closeAll(this.#pages);
  }

  async #readPiece(level: number, offset: number, into: Buffer): Promise<void> {
    const { file, inMemory } = this.#pages[level] as Pages;
    for (let done = 0; done < into.length; ) {
      const left = into.length - done;
      const bytesRead = inMemory
        ? readSync(file.fd, into, done, left, offset + done)
        : (await file.read(into, done, left, offset + done)).bytesRead;
      if (bytesRead === 0) throw new DrayError("CORRUPT_STREAM", "a pages image has become shorter");
      done += bytesRead;
    }
  }
}

async function readPagemap(path: string): Promise<Buffer<ArrayBuffer>> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    if (size > PAGEMAP_LIMIT_BYTES) throw new DrayError("CORRUPT_STREAM", `${path} has ${size} bytes`);
    const bytes = Buffer.allocUnsafeSlow(size);
    for (let done = 0; done < size; ) {
      const { bytesRead } = await file.read(bytes, done, size - done, done);
      if (bytesRead === 0) throw new DrayError("CORRUPT_STREAM", `${path} has become shorter`);
      done += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

/** Throws CORRUPT_STREAM unless it has what the pagemap says, no less and no more. */
async function openPages(path: string, ranges: RangeList): Promise<Pages> {
  let file: FileHandle;
  try {
    file = await open(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new DrayError("CORRUPT_STREAM", `there is no ${path}`, { cause: error });
  }
  try {
    const { size } = await file.stat();
    const expected = contentBytes(ranges);
    if (size === expected) return { path, bytes: expected, file, inMemory: isInMemory(path) };
    throw new DrayError("CORRUPT_STREAM", `${path} has ${size} bytes, its pagemap tells of ${expected}`);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function closeAll(pages: readonly Pages[]): Promise<void> {
  await Promise.all(pages.map(({ file }) => file.close()));
}
