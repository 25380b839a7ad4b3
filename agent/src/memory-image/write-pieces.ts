/** Writes pieces of memory to the end of a file, all of them, without joining them first. Throws NO_SPACE and what else a file system says. */
import { writevSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";

/** In the background, as disks are. */
export async function writeOnDisk(file: FileHandle, pieces: readonly Buffer[]): Promise<void> {
  for (let rest = pieces; rest.length > 0; ) {
    try {
      const { bytesWritten } = await file.writev(rest);
      rest = behind(rest, bytesWritten);
    } catch (error) {
      throw toDrayError(error);
    }
  }
}

/** At once: a turn of the event loop takes longer than the copy. */
export function writeInMemory(file: FileHandle, pieces: readonly Buffer[]): void {
  for (let rest = pieces; rest.length > 0; ) {
    try {
      rest = behind(rest, writevSync(file.fd, rest));
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
