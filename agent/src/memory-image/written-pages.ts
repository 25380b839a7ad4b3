/** Finds pages again that were written into images, by their numbers over all of them. */
import { type FileHandle, open } from "node:fs/promises";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { PAGE_BYTES } from "./page-range.ts";

/** How far back a page may be that is to be found, in pages that were written since: 2 GiB. */
export const REPEAT_REACH_PAGES = 2 ** 19;
/** Of pages that lie together in a file. With the pages of the largest range, what is in reach is in no more. */
const MOST_RUNS = 2 * REPEAT_REACH_PAGES;
const FORGOTTEN_RUNS = REPEAT_REACH_PAGES / 2;
/** Files: pages that are repeated lie in a few of them. */
const MOST_OPEN = 16;

export class WrittenPages {
  readonly #paths: string[] = [];
  readonly #indices = new Map<string, number>();
  /** Of each run the number of its first page, the index of its path, and where in the file it begins, bytes. */
  #firsts = new Float64Array(64);
  #files = new Uint32Array(64);
  #offsets = new Float64Array(64);
  #runs = 0;
  #count = 0;
  /** Files that are open to be read, by path, in the order in which they were opened. */
  readonly #handles = new Map<string, FileHandle>();

  /** How many were added. */
  get pages(): number {
    return this.#count;
  }

  /** The next pages lie there. */
  add(path: string, offset: number, pages: number): void {
    const last = this.#runs - 1;
    const end =
      last < 0 ? 0 : (this.#offsets[last] as number) + (this.#count - (this.#firsts[last] as number)) * PAGE_BYTES;
    if (last < 0 || this.#paths[this.#files[last] as number] !== path || end !== offset) this.#begin(path, offset);
    this.#count += pages;
  }

  /** Fills the space, whole pages, with those from this number on. Throws CORRUPT_STREAM if they were not written, or too long ago. */
  async read(number: number, space: Buffer): Promise<void> {
    for (let done = 0; done < space.length; ) {
      const page = number + done / PAGE_BYTES;
      const run = this.#runOf(page);
      const end = run + 1 < this.#runs ? (this.#firsts[run + 1] as number) : this.#count;
      if (run < 0 || page >= end) throw missing(page);
      const bytes = Math.min(space.length - done, (end - page) * PAGE_BYTES);
      const handle = await this.#handleOf(this.#paths[this.#files[run] as number] as string);
      const offset = (this.#offsets[run] as number) + (page - (this.#firsts[run] as number)) * PAGE_BYTES;
      const { bytesRead } = await handle.read(space, done, bytes, offset);
      if (bytesRead < bytes) throw missing(page);
      done += bytes;
    }
  }

  async close(): Promise<void> {
    const handles = [...this.#handles.values()];
    this.#handles.clear();
    await Promise.all(handles.map((handle) => handle.close()));
  }

  #begin(path: string, offset: number): void {
    if (this.#runs === MOST_RUNS) {
      for (const column of [this.#firsts, this.#files, this.#offsets]) column.copyWithin(0, FORGOTTEN_RUNS);
      this.#runs -= FORGOTTEN_RUNS;
    } else if (this.#runs === this.#firsts.length) {
      this.#firsts = twiceAsLong(this.#firsts, new Float64Array(2 * this.#runs));
      this.#files = twiceAsLong(this.#files, new Uint32Array(2 * this.#runs));
      this.#offsets = twiceAsLong(this.#offsets, new Float64Array(2 * this.#runs));
    }
    this.#firsts[this.#runs] = this.#count;
    this.#files[this.#runs] = this.#indexOf(path);
    this.#offsets[this.#runs] = offset;
    this.#runs++;
  }

  #indexOf(path: string): number {
    const known = this.#indices.get(path);
    if (known !== undefined) return known;
    const index = this.#paths.push(path) - 1;
    this.#indices.set(path, index);
    return index;
  }

  /** The last run that does not begin behind this page; -1 if there is none. */
  #runOf(page: number): number {
    let low = 0;
    let high = this.#runs;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#firsts[middle] as number) <= page) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  async #handleOf(path: string): Promise<FileHandle> {
    const known = this.#handles.get(path);
    if (known !== undefined) return known;
    try {
      if (this.#handles.size === MOST_OPEN) await this.close();
      const handle = await open(path, "r");
      this.#handles.set(path, handle);
      return handle;
    } catch (thrown) {
      throw toDrayError(thrown);
    }
  }
}

function twiceAsLong<T extends Float64Array | Uint32Array>(column: T, longer: T): T {
  longer.set(column);
  return longer;
}

function missing(page: number): DrayError {
  return new DrayError("CORRUPT_STREAM", `memory images: page ${page}, which is to be repeated, was not written`);
}
