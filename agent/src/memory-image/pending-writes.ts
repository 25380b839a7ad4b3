/** What is to be written into files, gathered: pieces that follow each other in one of them go as one. */
import type { ImageFile } from "./memory-image-reader.ts";
import { writeInMemory, writeOnDisk } from "./write-pieces.ts";

interface Write {
  readonly file: ImageFile;
  readonly offset: number;
  readonly pieces: Buffer[];
  /** Where it ends. */
  end: number;
}

export class PendingWrites {
  #writes: Write[] = [];

  /** The piece stays as it is until it was written. */
  add(file: ImageFile, offset: number, piece: Buffer): void {
    const last = this.#writes.at(-1);
    const end = offset + piece.length;
    if (last?.file === file && last.end === offset) {
      last.pieces.push(piece);
      last.end = end;
    } else this.#writes.push({ file, offset, pieces: [piece], end });
  }

  /** All that was added. What lies in memory is written on return; a promise only if there is a disk to wait for. */
  write(): void | Promise<void> {
    const writes = this.#writes;
    if (writes.length === 0) return;
    this.#writes = [];
    for (const { file, offset, pieces } of writes) if (file.inMemory) writeInMemory(file.file, offset, pieces);
    const onDisk = writes.filter(({ file }) => !file.inMemory);
    if (onDisk.length > 0) return writeAll(onDisk);
  }

  /** Without writing it. */
  clear(): void {
    this.#writes = [];
  }
}

async function writeAll(writes: readonly Write[]): Promise<void> {
  for (const { file, offset, pieces } of writes) await writeOnDisk(file.file, offset, pieces);
}
