/** Writes pieces of memory one behind the other into a file, all of them, without joining them first. Throws NO_SPACE and what else a file system says. */
import { writevSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";

/** In the background, as disks are. */
export async function writeOnDisk(file: FileHandle, offset: number, pieces: readonly Buffer[]): Promise<void> {
  let at = offset;
  for (let rest = pieces; rest.length > 0; ) {
    try {
      const { bytesWritten } = await file.writev(rest, at);
      at += bytesWritten;
      rest = behind(rest, bytesWritten);
    } catch (error) {
      throw toDrayError(error);
    }
  }
}

/** At once: a turn of the event loop takes longer than the copy. */
export function writeInMemory(file: FileHandle, offset: number, pieces: readonly Buffer[]): void {
  let at = offset;
  for (let rest = pieces; rest.length > 0; ) {
    try {
      const written = writevSync(file.fd, rest, at);
      at += written;
      rest = behind(rest, written);
    } catch (error) {
      throw toDrayError(error);
    }
  }
}

/** What of the pieces is left behind that many bytes. */
function behind(pieces: readonly Buffer[], bytes: number): readonly Buffer[] {
  let left = bytes;
  let index = 0;
  for (; index < pieces.length && left >= (pieces[index] as Buffer).length; index++) {
    left -= (pieces[index] as Buffer).length;
  }
  if (index === pieces.length) return [];
  return [(pieces[index] as Buffer).subarray(left), ...pieces.slice(index + 1)];
}
