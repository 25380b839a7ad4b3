/** Writes an incoming file to disk. */
import { writeSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { Readable } from "node:stream";
import { DrayError } from "../errors/dray-error.ts";
import { IncomingContent } from "./incoming-file.ts";
import { liesInMemory } from "./memory-files.ts";

export interface StoreOptions {
  /** Return only after the bytes are on disk. The caller syncs the directory, once for all its files. */
  readonly sync: boolean;
  /** Permissions; default 0600. */
  readonly mode?: number;
}

/**
 * Writes the content to `path`, replacing what was there, and returns the number of bytes. NO_SPACE if the disk is
 * full. An incomplete file is left behind on errors; it belongs to a directory that is removed as a whole.
 */
export async function storeFile(content: Readable, path: string, options: StoreOptions): Promise<number> {
  const handle = await open(path, "w", options.mode ?? 0o600);
  try {
    const write = (await liesInMemory(path)) ? writeInMemory : writeOnDisk;
    let bytes = 0;
    for await (const chunk of content as AsyncIterable<Buffer>) {
      await write(handle, chunk, bytes);
      bytes += chunk.length;
      if (content instanceof IncomingContent) content.recycle(chunk);
    }
    if (options.sync) await handle.sync();
    return bytes;
  } catch (error) {
    throw spaceError(error, path);
  } finally {
    await handle.close();
  }
}

async function writeOnDisk(handle: FileHandle, chunk: Buffer, position: number): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    const { bytesWritten } = await handle.write(chunk, done, chunk.length - done, position + done);
    done += bytesWritten;
  }
}

async function writeInMemory(handle: FileHandle, chunk: Buffer, position: number): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    done += writeSync(handle.fd, chunk, done, chunk.length - done, position + done);
  }
}

function spaceError(error: unknown, path: string): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return new DrayError("NO_SPACE", `no space left for ${path}`, { cause: error });
}
