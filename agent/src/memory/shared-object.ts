/**
 * A shared memory object (MAP_SHARED | MAP_ANONYMOUS, memfd_create), by the mapping of any process that has it: what is
 * in it is asked of the object, as CRIU does (do_dump_one_shmem in criu/shmem.c). The page tables of one process know
 * only what that process has touched, which of what its children or the process before a restore have written is nothing;
 * and to read it there would enter it in them.
 */
import { closeSync, openSync, statfsSync } from "node:fs";
import { constants } from "node:os";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { PAGE_BYTES, type PageSpan } from "../memory-image/page-range.ts";
import { addon } from "../native/addon.ts";
import { isGone } from "./memory-errors.ts";
import { readPages } from "./read-pages.ts";

/** TMPFS_MAGIC of linux/magic.h. Huge pages have another: to read their holes would fill them. */
const TMPFS_MAGIC = 0x01021994;

export class SharedObject {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Null if the process has it mapped there no more, or it is none of ordinary pages. To be closed. */
  static open(pid: number, { start, end }: { readonly start: number; readonly end: number }): SharedObject | null {
    const path = `/proc/${pid}/map_files/${start.toString(16)}-${end.toString(16)}`;
    try {
      if (statfsSync(path).type !== TMPFS_MAGIC) return null;
      return new SharedObject(openSync(path, "r"));
    } catch (error) {
      if (isGone(error)) return null;
      throw error;
    }
  }

  /** What is in it, in memory or swapped out, ascending, without touching a page of it. It may change meanwhile. */
  *spans(): Generator<PageSpan> {
    for (let at = 0; ; ) {
      const start = this.#seek(at, false);
      if (start === null) return;
      const end = this.#seek(start, true) ?? start;
      // A last page that is cut short by the end of the object is left to the final dump.
      const pages = Math.floor((end - start) / PAGE_BYTES);
      if (pages > 0) yield { vaddr: start, pages };
      if (end <= at) return;
      // An object that has grown meanwhile has data from just there on; what was cut short is left to the next round.
      at = Math.ceil(end / PAGE_BYTES) * PAGE_BYTES;
    }
  }

  /** Fills `space`, whole pages, from this place on. Returns the bytes that could be read, whole pages. */
  read(vaddr: number, space: Buffer): number {
    return readPages(this.#fd, vaddr, space);
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** The next data, or hole, from there on; null behind the last data. */
  #seek(from: number, hole: boolean): number | null {
    const found = addon().seek(this.#fd, from, hole);
    if (found >= 0) return found;
    if (found === -constants.errno.ENXIO) return null;
    throw new DrayError("INTERNAL", `what is in a shared memory object cannot be found: errno ${-found}`);
  }
}
