/**
 * Where the bytes of an outgoing file come from. A source writes straight into the payload of a frame, so that a byte
 * read from a file is copied once, by the kernel.
 */
import { type FSWatcher, readSync, watch } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Readable } from "node:stream";
import { DrayError, toDrayError } from "../errors/dray-error.ts";
import { liesInMemory } from "./memory-files.ts";

export interface FrameSource {
  /** Fills `space` with the next bytes, at least one; 0 at the end. Never called while a call is under way. */
  fill(space: Buffer): Promise<number>;
  /** Releases everything; makes a `fill` under way end. */
  close(): Promise<void>;
}

/** A file as it is. NOT_FOUND if there is none. */
export async function fileSource(path: string, startBytes = 0): Promise<FrameSource> {
  const file = await openFile(path);
  let position = startBytes;
  return {
    async fill(space) {
      const bytesRead = await file.read(space, position);
      position += bytesRead;
      return bytesRead;
    },
    close: () => file.close(),
  };
}

/** Any stream of bytes. What the stream hands out together goes into one frame. */
export function readableSource(readable: Readable): FrameSource {
  const chunks: AsyncIterator<unknown> = readable[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  const take = (space: Buffer): number => {
    const taken = rest.copy(space);
    rest = rest.subarray(taken);
    return taken;
  };
  return {
    async fill(space) {
      while (rest.length === 0) {
        const next = await chunks.next();
        if (next.done === true) return 0;
        rest = bytesOf(next.value);
      }
      let filled = take(space);
      while (filled < space.length && readable.readableLength > 0) {
        const next = await chunks.next();
        if (next.done === true) break;
        rest = bytesOf(next.value);
        filled += take(space.subarray(filled));
      }
      return filled;
    },
    async close() {
      readable.destroy();
    },
  };
}

/**
 * A file that another process appends to. It may not exist yet. The kernel's notices of the directory wake the reader;
 * where they cannot be had, the rest is read when `done` resolves: later, but never wrong.
 */
export function growingSource(path: string, done: Promise<unknown>): FrameSource {
  const changes = new Changes(path);
  let finished = false;
  let failure: DrayError | undefined;
  let closed = false;
  done.then(
    () => {
      finished = true;
      changes.notice();
    },
    (error: unknown) => {
      failure = toDrayError(error);
      changes.notice();
    },
  );
  let file: OpenFile | undefined;
  let position = 0;

  const readSome = async (space: Buffer): Promise<number> => {
    file ??= await openIfPresent(path);
    if (file === undefined) return 0;
    if (closed) {
      // Closed while the file was being opened: close() has not seen this file.
      await file.close();
      return 0;
    }
    const bytesRead = await file.read(space, position);
    position += bytesRead;
    return bytesRead;
  };

  return {
    async fill(space) {
      for (;;) {
        if (closed) return 0;
        if (failure !== undefined) throw failure;
        const changed = changes.next();
        // Asked before reading: what was written until `done` is seen by a read that starts after it.
        const atEnd = finished;
        const bytes = await readSome(space);
        if (bytes > 0) return bytes;
        if (atEnd && file === undefined) throw new DrayError("NOT_FOUND", `${path} was never written`);
        if (atEnd) return 0;
        await changed;
      }
    },
    async close() {
      closed = true;
      changes.close();
      await file?.close();
    },
  };
}

/** Notices of one file in its directory. */
class Changes {
  readonly #watcher: FSWatcher | undefined;
  #wake: () => void = () => undefined;
  #pending: Promise<void>;

  constructor(path: string) {
    this.#pending = this.#arm();
    const name = basename(path);
    try {
      this.#watcher = watch(dirname(path), (_event, changed) => {
        if (changed === null || changed === name) this.notice();
      });
      this.#watcher.on("error", () => this.#watcher?.close());
    } catch (error) {
      // No inotify instance left, or the directory is not there yet: `done` still wakes the reader.
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    }
  }

  /** Resolves at the next notice after this call. */
  next(): Promise<void> {
    return this.#pending;
  }

  notice(): void {
    const wake = this.#wake;
    this.#pending = this.#arm();
    wake();
  }

  close(): void {
    this.#watcher?.close();
    this.notice();
  }

  #arm(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

interface OpenFile {
  read(space: Buffer, position: number): Promise<number>;
  close(): Promise<void>;
}

async function openFile(path: string): Promise<OpenFile> {
  const file = await openIfPresent(path);
  if (file === undefined) throw new DrayError("NOT_FOUND", `${path} does not exist`);
  return file;
}

async function openIfPresent(path: string): Promise<OpenFile | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const inMemory = await liesInMemory(path);
  return {
    async read(space, position) {
      if (inMemory) return readSync(handle.fd, space, 0, space.length, position);
      return (await handle.read(space, 0, space.length, position)).bytesRead;
    },
    close: () => handle.close(),
  };
}

function bytesOf(chunk: unknown): Buffer {
  if (Buffer.isBuffer(chunk)) return chunk;
  if (chunk instanceof Uint8Array) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  if (typeof chunk === "string") return Buffer.from(chunk);
  throw new DrayError("BAD_REQUEST", "page stream: the source is a stream of objects, not of bytes");
}
