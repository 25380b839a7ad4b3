/**
 * Where the bytes of an outgoing file come from. A source writes straight into the payload of a frame, so that a byte
 * read from a file is copied once, by the kernel.
 */
import { readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { Readable } from "node:stream";
import { DrayError } from "../errors/dray-error.ts";
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
 * Chunks that somebody makes one after the other, perhaps in the same memory: each has been copied before the next is
 * asked for. Frames are filled as far as they can be; after an empty chunk what there is goes on its way, before a wait.
 */
export function chunkSource(made: AsyncIterable<Buffer>): FrameSource {
  const chunks = made[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  let isClosed = false;
  /** Ends the wait for a chunk that may never come. */
  let giveUp: () => void = () => undefined;
  const next = () =>
    new Promise<IteratorResult<Buffer, unknown>>((resolve, reject) => {
      giveUp = () => resolve({ done: true, value: undefined });
      if (isClosed) giveUp();
      else chunks.next().then(resolve, reject);
    });
  return {
    async fill(space) {
      let filled = 0;
      while (filled < space.length) {
        if (rest.length === 0) {
          const step = await next();
          if (step.done === true) break;
          rest = step.value;
          if (rest.length === 0 && filled > 0) break;
        }
        const taken = rest.copy(space, filled);
        rest = rest.subarray(taken);
        filled += taken;
      }
      return filled;
    },
    async close() {
      isClosed = true;
      giveUp();
      // Its maker may be waiting for something; it ends when that has come.
      chunks.return?.().catch(() => undefined);
    },
  };
}

interface OpenFile {
  read(space: Buffer, position: number): Promise<number>;
  close(): Promise<void>;
}

async function openFile(path: string): Promise<OpenFile> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
    throw new DrayError("NOT_FOUND", `${path} does not exist`, { cause });
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
