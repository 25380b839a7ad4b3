/**
 * Writes the memory of a dump as CRIU's images, piece by piece as it comes, with nothing of it copied.
 *
 * What `entry` and `data` are given is written by the next `flush`, all of it at once; until then the caller keeps the
 * memory of the pieces as it is.
 */
import { type FileHandle, open, realpath, symlink } from "node:fs/promises";
import { join, relative } from "node:path";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { liesInMemory } from "@drayage/shared/page-stream/memory-files.ts";
import { exists } from "../host/exists.ts";
import { applyDelta } from "./page-delta.ts";
import { type MemoryImage, MemoryImageReader } from "./memory-image-reader.ts";
import {
  describeRange,
  endOf,
  type ImageId,
  PAGE_BYTES,
  type PageRange,
  PARENT,
  PRESENT,
  rangeFault,
} from "./page-range.ts";
import { writeInMemory, writeOnDisk } from "./write-pieces.ts";
import { WrittenPages } from "./written-pages.ts";
import { encodePagemapEntry, encodePagemapHead, joinRanges, pagemapName, pagesName } from "./pagemap-image.ts";

/**
 * Where CRIU's page server begins as well: CRIU itself counts from 1, and may write images of its own into the same
 * directory.
 */
const FIRST_PAGES_ID = 0x10001;

/** Of a repeated range, pages that are in memory at a time. */
const REPEATED_AT_A_TIME = 128;

export interface WriterOptions {
  /** An image is closed only after its bytes are on disk. The caller syncs the directory. */
  readonly sync: boolean;
  /**
   * Asked for each image where its pages are to lie, given how many bytes of pages have been written by then. Null, as
   * without this: beside the page map, which otherwise gets a link to them there.
   */
  readonly pagesDirectory?: (writtenBytes: number) => Promise<string | null>;
}

interface OpenImage {
  readonly image: ImageId;
  readonly pagemap: FileHandle;
  readonly pages: FileHandle;
  readonly pagesInMemory: boolean;
  /** Of the round before; null if it does not have this image. */
  readonly parent: MemoryImage | null;
}

export class MemoryImageWriter {
  readonly #directory: string;
  readonly #inMemory: boolean;
  readonly #options: WriterOptions;
  #nextPagesId = FIRST_PAGES_ID;
  #open: OpenImage | undefined;
  /** The last range, which the next one may continue. */
  #lastRange: PageRange | undefined;
  #imageEnd = 0;
  /** Content of the last range that is still to come. */
  #dataBytes = 0;
  #entries: Buffer[] = [];
  #content: Buffer[] = [];
  readonly #written = new WrittenPages();

  private constructor(directory: string, inMemory: boolean, options: WriterOptions) {
    this.#directory = directory;
    this.#inMemory = inMemory;
    this.#options = options;
  }

  /** Into a directory that exists; its link to a parent, if it has one, is there already (`setParent`). */
  static async create(directory: string, options: WriterOptions): Promise<MemoryImageWriter> {
    return new MemoryImageWriter(directory, await liesInMemory(join(directory, "pages")), options);
  }

  /** Whether the round before has this image. */
  async parentHas(image: ImageId): Promise<boolean> {
    const [, parent] = (await MemoryImageReader.open(this.#directory)).directories;
    return parent !== undefined && (await exists(join(parent, pagemapName(image))));
  }

  /**
   * Completes the image before and begins this one; true if ranges of it may be in the parent. Throws CORRUPT_STREAM if
   * the directory has it already: CRIU numbers two kinds of shared memory independently, and would lose one of them.
   */
  async open(image: ImageId): Promise<boolean> {
    await this.#completeImage();
    const parent = await this.#parentOf(image);
    const pagesId = this.#nextPagesId++;
    this.#open = { image, ...(await this.#createFiles(image, pagesId, parent)), parent };
    this.#lastRange = undefined;
    this.#imageEnd = 0;
    this.#entries.push(encodePagemapHead(pagesId));
    this.#written.begin(join(this.#directory, pagesName(pagesId)));
    return parent !== null;
  }

  /** Throws CORRUPT_STREAM if it does not follow the ranges before, or is in the parent and the parent has it not. */
  entry(range: PageRange): void {
    const { parent } = this.#demandOpen();
    if (this.#dataBytes > 0) throw corrupt(`${this.#dataBytes} bytes are missing before ${describeRange(range)}`);
    const fault = rangeFault(range, this.#imageEnd);
    if (fault !== null) throw corrupt(fault);
    if ((range.flags & PARENT) !== 0 && (parent === null || !parent.segments.hasContent(range))) {
      throw corrupt(`the parent does not have all of ${describeRange(range)}`);
    }
    this.#imageEnd = endOf(range);
    if ((range.flags & PRESENT) !== 0) {
      this.#dataBytes = range.pages * PAGE_BYTES;
      this.#written.add(range.pages);
    }
    const joined = this.#lastRange === undefined ? null : joinRanges(this.#lastRange, range);
    if (joined === null) this.#settleRange();
    this.#lastRange = joined ?? range;
  }

  /** Content of the last range. Kept until the next flush. */
  data(bytes: Buffer): void {
    if (bytes.length > this.#dataBytes) throw corrupt(`${bytes.length - this.#dataBytes} bytes that no range has`);
    this.#dataBytes -= bytes.length;
    this.#content.push(bytes);
  }

  /**
   * A range that has the content of pages that were PRESENT before, counted over all images in the order in which they
   * came. They must have come.
   */
  async repeat(range: PageRange, from: number): Promise<void> {
    this.entry(range);
    const space = Buffer.allocUnsafe(Math.min(range.pages, REPEATED_AT_A_TIME) * PAGE_BYTES);
    for (let done = 0; done < range.pages; ) {
      // What it repeats may still be held, and its own space is used again.
      await this.flush();
      const pages = Math.min(range.pages - done, REPEATED_AT_A_TIME);
      const bytes = space.subarray(0, pages * PAGE_BYTES);
      await this.#written.read(from + done, bytes);
      this.data(bytes);
      done += pages;
    }
    await this.flush();
  }

  /** A page of which the parent has another state, as what has changed since. Throws CORRUPT_STREAM if it is not that. */
  async delta({ vaddr, flags }: Omit<PageRange, "pages">, change: Buffer): Promise<void> {
    const { parent } = this.#demandOpen();
    const range = { vaddr, pages: 1, flags };
    if (parent === null || !parent.segments.hasContent(range)) {
      throw corrupt(`the parent does not have the page of which ${vaddr.toString(16)} is a change`);
    }
    const page = Buffer.allocUnsafe(PAGE_BYTES);
    await parent.read(vaddr, page);
    applyDelta(page, change);
    this.entry(range);
    this.data(page);
  }

  /** Writes what has come. At once where the directory lies in memory: a promise only if there was a disk to wait for. */
  flush(): void | Promise<void> {
    if (this.#open === undefined || (this.#entries.length === 0 && this.#content.length === 0)) return;
    const { pagemap, pages, pagesInMemory } = this.#open;
    const [entries, content] = [this.#entries, this.#content];
    this.#entries = [];
    this.#content = [];
    if (!pagesInMemory) return writeOnDisk(pages, content).then(() => writeOnDisk(pagemap, entries));
    writeInMemory(pages, content);
    writeInMemory(pagemap, entries);
  }

  /** All images are complete. */
  async close(): Promise<void> {
    await this.#completeImage();
  }

  /** Lets go of everything; what was written stays, and is not whole. */
  async abandon(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    this.#entries = [];
    this.#content = [];
    await this.#written.close();
    if (open !== undefined) await Promise.all([open.pagemap.close(), open.pages.close(), open.parent?.close()]);
  }

  async #completeImage(): Promise<void> {
    const open = this.#open;
    if (open === undefined) return;
    if (this.#dataBytes > 0) throw corrupt(`${this.#dataBytes} bytes are missing at the end of an image`);
    this.#settleRange();
    await this.flush();
    if (this.#options.sync) await Promise.all([open.pagemap.sync(), open.pages.sync()]);
    await this.abandon();
  }

  #settleRange(): void {
    if (this.#lastRange !== undefined) this.#entries.push(encodePagemapEntry(this.#lastRange));
    this.#lastRange = undefined;
  }

  async #parentOf(image: ImageId): Promise<MemoryImage | null> {
    if (!(await this.parentHas(image))) return null;
    const [, parent] = (await MemoryImageReader.open(this.#directory)).directories;
    return await (await MemoryImageReader.open(parent as string)).load(image);
  }

  #demandOpen(): OpenImage {
    if (this.#open === undefined) throw corrupt("a range before any image");
    return this.#open;
  }

  async #createFiles(image: ImageId, pagesId: number, parent: MemoryImage | null) {
    let pagemap: FileHandle | undefined;
    try {
      pagemap = await this.#create(pagemapName(image));
      return { pagemap, ...(await this.#createPages(pagesName(pagesId))) };
    } catch (error) {
      await Promise.all([pagemap?.close(), parent?.close()]);
      throw error;
    }
  }

  async #createPages(name: string): Promise<Pick<OpenImage, "pages" | "pagesInMemory">> {
    const elsewhere = (await this.#options.pagesDirectory?.(this.#written.bytes)) ?? null;
    if (elsewhere === null) return { pages: await this.#create(name), pagesInMemory: this.#inMemory };
    const path = join(elsewhere, name);
    // A restored process opens it from within its container: only a way that begins at this directory, and meets no
    // other link, leads out of there.
    const [from, to] = await Promise.all([realpath(this.#directory), realpath(elsewhere)]);
    await symlink(join(relative(from, to), name), join(this.#directory, name));
    const pagesInMemory = await liesInMemory(path);
    return { pages: await this.#create(name, elsewhere), pagesInMemory };
  }

  async #create(name: string, directory = this.#directory): Promise<FileHandle> {
    const path = join(directory, name);
    try {
      return await open(path, "wx", 0o600);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw toDrayError(error);
      throw new DrayError("CORRUPT_STREAM", `there is a second ${name}`, { cause: error });
    }
  }
}

function corrupt(what: string): DrayError {
  return new DrayError("CORRUPT_STREAM", `memory images: ${what}`);
}
