/** Finds pages again that were written into the images of a directory, by their numbers over all of them. */
import { type FileHandle, open } from "node:fs/promises";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { PAGE_BYTES } from "./page-range.ts";

interface PagesFile {
  readonly path: string;
  /** Number of its first page. */
  readonly first: number;
}

export class WrittenPages {
  readonly #files: PagesFile[] = [];
  #count = 0;
  /** The file that was read last. */
  #open: { readonly path: string; readonly handle: FileHandle } | undefined;

  /** What is added from now on is in this file, from its beginning on. */
  begin(path: string): void {
    this.#files.push({ path, first: this.#count });
  }

  /** Of all that was added. */
  get bytes(): number {
    return this.#count * PAGE_BYTES;
  }

  add(pages: number): void {
    this.#count += pages;
  }

  /** Fills the space, whole pages, with those from this number on. Throws CORRUPT_STREAM if they were not written. */
  async read(number: number, space: Buffer): Promise<void> {
    for (let done = 0; done < space.length; ) {
      const page = number + done / PAGE_BYTES;
      const index = this.#files.findLastIndex(({ first }) => first <= page);
      const file = this.#files[index];
      const end = this.#files[index + 1]?.first ?? this.#count;
      if (file === undefined || page >= end) throw missing(page);
      const bytes = Math.min(space.length - done, (end - page) * PAGE_BYTES);
      const handle = await this.#handleOf(file.path);
      const { bytesRead } = await handle.read(space, done, bytes, (page - file.first) * PAGE_BYTES);
      if (bytesRead < bytes) throw missing(page);
      done += bytes;
    }
  }

  async close(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.handle.close();
  }

  async #handleOf(path: string): Promise<FileHandle> {
    if (this.#open?.path === path) return this.#open.handle;
    await this.close();
    try {
      const handle = await open(path, "r");
      this.#open = { path, handle };
      return handle;
    } catch (thrown) {
      throw toDrayError(thrown);
    }
  }
}

function missing(page: number): DrayError {
  return new DrayError("CORRUPT_STREAM", `memory images: page ${page}, which is to be repeated, was not written`);
}
