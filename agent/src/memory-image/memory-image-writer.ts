/**
 * Writes the memory of a dump as CRIU's images, piece by piece as it comes, with nothing of it copied.
 *
 * What `entry` and `data` are given is written by the next `flush`, all of it at once; until then the caller keeps the
 * memory of the pieces as it is.
 *
 * A round may take the place of the one before (`overwrites`): what that has of a page is overwritten, and the page is in
 * the parent as if it had not changed. However often pages change here and there, an image stays in few pieces.
 *
 * ```
 *  pagemap of round 1   ░░░░░░░░░██      ░ in the parent, whether it has changed or not
 *  pages of round 0     ──██─█───        █ written in round 1; what round 0 lacks beside the pagemap of round 1
 * ```
 */
import { open, realpath, symlink } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { liesInMemory } from "@drayage/shared/page-stream/memory-files.ts";
import { exists } from "../host/exists.ts";
import { applyDelta } from "./page-delta.ts";
import { type MemoryImage, MemoryImageReader, type ImageFile } from "./memory-image-reader.ts";
import {
  describeRange,
  endOf,
  type ImageId,
  LAZY,
  PAGE_BYTES,
  type PageRange,
  PARENT,
  PRESENT,
  rangeFault,
} from "./page-range.ts";
import { PendingWrites } from "./pending-writes.ts";
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
  /**
   * Asked for each image where its pages are to lie, given how many bytes of pages have been written by then, but for
   * those that took the place of others. Null, as without this: beside the page map, which otherwise gets a link to them
   * there.
   */
  readonly pagesDirectory?: (writtenBytes: number) => Promise<string | null>;
  /**
   * Of which pages, by their image and the flags of their range, those of the round before are overwritten: nobody wants
   * these as they were, not even if this round is never complete. On disks, which are written to from front to back, none
   * are. Default none.
   */
  readonly overwrites?: (image: ImageId, flags: number) => boolean;
}

interface OpenImage {
  readonly image: ImageId;
  readonly pagemap: ImageFile;
  readonly pages: ImageFile;
  /** Of the round before; null if it does not have this image. */
  readonly parent: MemoryImage | null;
  /** Its pages images that can be overwritten, by level. */
  readonly parentFiles: readonly (ImageFile | null)[];
}

/** Where content of a range goes. */
interface Target {
  readonly file: ImageFile;
  /** Of what is still to come. */
  offset: number;
  bytes: number;
}

export class MemoryImageWriter {
  readonly #directory: string;
  readonly #inMemory: boolean;
  readonly #options: WriterOptions;
  readonly #inParent: ImageId[] = [];
  #nextPagesId = FIRST_PAGES_ID;
  #open: OpenImage | undefined;
  /** The last range, which the next one may continue. */
  #lastRange: PageRange | undefined;
  #imageEnd = 0;
  #pagemapBytes = 0;
  /** Of the open image, and of all of them, beside their pagemaps. */
  #pagesBytes = 0;
  #besideBytes = 0;
  /** Where the content of the last range goes, and the first of these that waits for some. */
  #targets: Target[] = [];
  #target = 0;
  readonly #content = new PendingWrites();
  readonly #entries = new PendingWrites();
  readonly #written = new WrittenPages();

  private constructor(directory: string, inMemory: boolean, options: WriterOptions) {
    this.#directory = directory;
    this.#inMemory = inMemory;
    this.#options = options;
  }

  /** Into a directory that exists; its link to a parent, if it has one, is there already (`setParent`). */
  static async create(directory: string, options: WriterOptions = {}): Promise<MemoryImageWriter> {
    return new MemoryImageWriter(directory, await liesInMemory(join(directory, "pages")), options);
  }

  /** Images of which pages are in the parent, so far. */
  get inParent(): readonly ImageId[] {
    return this.#inParent;
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
    const pagesId = this.#nextPagesId++;
    this.#open = await this.#createImage(image, pagesId);
    this.#lastRange = undefined;
    this.#imageEnd = 0;
    this.#pagemapBytes = 0;
    this.#pagesBytes = 0;
    this.#writeEntry(encodePagemapHead(pagesId));
    return this.#open.parent !== null;
  }

  /** Throws CORRUPT_STREAM if it does not follow the ranges before, or is in the parent and the parent has it not. */
  entry(range: PageRange): void {
    const open = this.#demandOpen();
    const { parent } = open;
    const missingBytes = this.#missingBytes();
    if (missingBytes > 0) throw corrupt(`${missingBytes} bytes are missing before ${describeRange(range)}`);
    const fault = rangeFault(range, this.#imageEnd);
    if (fault !== null) throw corrupt(fault);
    this.#forgetTargets();
    if ((range.flags & PARENT) !== 0 && (parent === null || !parent.segments.hasContent(range))) {
      throw corrupt(`the parent does not have all of ${describeRange(range)}`);
    }
    this.#imageEnd = endOf(range);
    if ((range.flags & PRESENT) === 0) this.#tell(range);
    else if (this.#options.overwrites?.(open.image, range.flags) === true) this.#expectOverParent(range, open);
    else this.#expectBeside(range);
  }

  /** Content of the last range. Kept until the next flush. */
  data(bytes: Buffer): void {
    for (let done = 0; done < bytes.length; ) {
      const target = this.#targets[this.#target];
      if (target === undefined) throw corrupt(`${bytes.length - done} bytes that no range has`);
      const taken = Math.min(target.bytes, bytes.length - done);
      this.#content.add(target.file, target.offset, bytes.subarray(done, done + taken));
      target.offset += taken;
      target.bytes -= taken;
      if (target.bytes === 0) this.#target++;
      done += taken;
    }
  }

  /**
   * A range that has the content of pages that were PRESENT before, counted over all images in the order in which they
   * came. They must have come.
   */
  async repeat(range: PageRange, from: number): Promise<void> {
    if (from + range.pages > this.#written.pages) {
      throw corrupt(`${describeRange(range)} repeats pages from ${from} on, of which ${this.#written.pages} have come`);
    }
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

  /** Writes what has come. At once where it lies in memory: a promise only if there was a disk to wait for. */
  flush(): void | Promise<void> {
    const content = this.#content.write();
    if (content === undefined) return this.#entries.write();
    return content.then(() => this.#entries.write());
  }

  /** All images are complete. */
  async close(): Promise<void> {
    await this.#completeImage();
  }

  /** Lets go of everything; what was written stays, and is not whole. */
  async abandon(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    this.#entries.clear();
    this.#content.clear();
    this.#forgetTargets();
    await this.#written.close();
    if (open === undefined) return;
    const { pagemap, pages, parent, parentFiles } = open;
    await Promise.all([closeAll([pagemap, pages, ...parentFiles]), parent?.close()]);
  }

  async #completeImage(): Promise<void> {
    const open = this.#open;
    if (open === undefined) return;
    const missingBytes = this.#missingBytes();
    if (missingBytes > 0) throw corrupt(`${missingBytes} bytes are missing at the end of an image`);
    this.#settleRange();
    await this.flush();
    await this.abandon();
  }

  #missingBytes(): number {
    return this.#targets.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  #forgetTargets(): void {
    this.#targets = [];
    this.#target = 0;
  }

  /** What the parent has of it in memory is overwritten there. */
  #expectOverParent({ vaddr, pages, flags }: PageRange, { parent, parentFiles }: OpenImage): void {
    if (parent === null) {
      this.#expectBeside({ vaddr, pages, flags });
      return;
    }
    for (const piece of parent.segments.piecesOf({ vaddr, pages })) {
      const file = piece.level === null ? null : (parentFiles[piece.level] ?? null);
      const part = { vaddr: piece.vaddr, pages: piece.pages };
      if (file === null) this.#expectBeside({ ...part, flags });
      else {
        this.#expect(file, piece.offset, piece.pages);
        this.#tell({ ...part, flags: PARENT | (flags & LAZY) });
      }
    }
  }

  #expectBeside(range: PageRange): void {
    this.#expect(this.#demandOpen().pages, this.#pagesBytes, range.pages);
    this.#pagesBytes += range.pages * PAGE_BYTES;
    this.#besideBytes += range.pages * PAGE_BYTES;
    this.#tell(range);
  }

  /** Content that comes next. */
  #expect(file: ImageFile, offset: number, pages: number): void {
    this.#targets.push({ file, offset, bytes: pages * PAGE_BYTES });
    this.#written.add(file.path, offset, pages);
  }

  /** In the pagemap. */
  #tell(range: PageRange): void {
    const { image } = this.#demandOpen();
    if ((range.flags & PARENT) !== 0 && this.#inParent.at(-1) !== image) this.#inParent.push(image);
    const joined = this.#lastRange === undefined ? null : joinRanges(this.#lastRange, range);
    if (joined === null) this.#settleRange();
    this.#lastRange = joined ?? range;
  }

  #settleRange(): void {
    if (this.#lastRange !== undefined) this.#writeEntry(encodePagemapEntry(this.#lastRange));
    this.#lastRange = undefined;
  }

  #writeEntry(entry: Buffer): void {
    this.#entries.add(this.#demandOpen().pagemap, this.#pagemapBytes, entry);
    this.#pagemapBytes += entry.length;
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

  async #createImage(image: ImageId, pagesId: number): Promise<OpenImage> {
    const parent = await this.#parentOf(image);
    let parentFiles: readonly (ImageFile | null)[] = [];
    let pagemap: ImageFile | null = null;
    try {
      if (parent !== null && this.#options.overwrites !== undefined) parentFiles = await parent.openInMemory();
      pagemap = await this.#create(join(this.#directory, pagemapName(image)), this.#inMemory);
      return { image, pagemap, pages: await this.#createPages(pagesName(pagesId)), parent, parentFiles };
    } catch (error) {
      await Promise.all([closeAll([pagemap, ...parentFiles]), parent?.close()]);
      throw error;
    }
  }

  async #createPages(name: string): Promise<ImageFile> {
    const elsewhere = (await this.#options.pagesDirectory?.(this.#besideBytes)) ?? null;
    if (elsewhere === null) return await this.#create(join(this.#directory, name), this.#inMemory);
    const path = join(elsewhere, name);
    // A restored process opens it from within its container: only a way that begins at this directory, and meets no
    // other link, leads out of there.
    const [from, to] = await Promise.all([realpath(this.#directory), realpath(elsewhere)]);
    await symlink(join(relative(from, to), name), join(this.#directory, name));
    return await this.#create(path, await liesInMemory(path));
  }

  async #create(path: string, inMemory: boolean): Promise<ImageFile> {
    try {
      return { path, inMemory, file: await open(path, "wx", 0o600) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw toDrayError(error);
      throw new DrayError("CORRUPT_STREAM", `there is a second ${basename(path)}`, { cause: error });
    }
  }
}

async function closeAll(files: readonly (ImageFile | null)[]): Promise<void> {
  await Promise.all(files.map((each) => each?.file.close()));
}

function corrupt(what: string): DrayError {
  return new DrayError("CORRUPT_STREAM", `memory images: ${what}`);
}
