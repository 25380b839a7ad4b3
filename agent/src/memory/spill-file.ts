/**
 * Room on disk for what should not lie in memory: a file without a name, which nobody else finds, and of which nothing
 * is left when this process ends, however it does.
 *
 * Where the disk gives no room (it is full, or cannot be written to) that is said once, and whoever asks goes on in
 * memory: moving away from such a host must not fail for want of a little of it.
 */
import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";

export class SpillFile {
  readonly #directory: string;
  readonly #onFailure: (error: DrayError) => void;
  #fd: number | undefined;
  #allocatedBytes = 0;
  #hasFailed = false;
  #isClosed = false;

  /** The directory and the file are made when something is written. `onFailure` is told, once, why nothing is from now on. */
  constructor(directory: string, onFailure: (error: DrayError) => void) {
    this.#directory = directory;
    this.#onFailure = onFailure;
  }

  /** The position of so many bytes that are nobody else's. */
  allocate(bytes: number): number {
    const position = this.#allocatedBytes;
    this.#allocatedBytes += bytes;
    return position;
  }

  /**
   * False if it fails, or anything has failed before: what was at that position may be half overwritten. INTERNAL after
   * `close`.
   */
  write(bytes: Buffer, position: number): boolean {
    this.#demandOpen();
    if (this.#hasFailed) return false;
    try {
      this.#fd ??= this.#make();
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(this.#fd, bytes, done, bytes.length - done, position + done);
      }
      return true;
    } catch (thrown) {
      this.#fail(thrown);
      return false;
    }
  }

  /**
   * Fills the bytes with what was written at that position, and had this CRC-32: a disk that has lost a write must not
   * bring back what was there before. False if it cannot be had. INTERNAL after `close`.
   */
  read(bytes: Buffer, position: number, sum: number): boolean {
    this.#demandOpen();
    if (this.#fd === undefined) return false;
    try {
      for (let done = 0; done < bytes.length; ) {
        const more = readSync(this.#fd, bytes, done, bytes.length - done, position + done);
        if (more === 0) break;
        done += more;
      }
      if (crc32(bytes) !== sum) throw new DrayError("INTERNAL", "the disk gives back something else than was written");
      return true;
    } catch (thrown) {
      this.#fail(thrown);
      return false;
    }
  }

  /** Gives the room back. Once or more. */
  close(): void {
    this.#isClosed = true;
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #make(): number {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const path = join(this.#directory, `spill-${randomBytes(8).toString("hex")}`);
    const fd = openSync(path, "wx+", 0o600);
    try {
      unlinkSync(path);
    } catch (thrown) {
      closeSync(fd);
      throw thrown;
    }
    return fd;
  }

  #demandOpen(): void {
    if (this.#isClosed) throw new DrayError("INTERNAL", "what was spilled to disk has been given up");
  }

  #fail(thrown: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#onFailure(toDrayError(thrown));
  }
}
