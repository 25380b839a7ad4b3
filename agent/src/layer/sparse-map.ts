/**
 * Where the data of a sparse file belong. In GNU's sparse format 1.0 they begin with the map: decimal numbers, each on
 * a line, first how many pieces, then offset and size of each, filled up with zeros to whole blocks
 * (https://www.gnu.org/software/tar/manual/html_node/PAX-1.html).
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { TarMember } from "./tar-filter.ts";

const BLOCK_BYTES = 512;
const NEWLINE = 0x0a;

export class SparseMap {
  /** Of the file, holes and all. */
  readonly sizeBytes: number;
  /** Of the map, as far as it has been read; undefined when that is done. */
  #numbers: number[] | undefined = [];
  /** Offset and size of each. */
  #pieces: number[] = [];
  #line = "";
  #mapBytes = 0;
  /** Index of the piece under way, and where in the file the next byte belongs. */
  #piece = 0;
  #position = 0;

  private constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
  }

  /** Undefined if the member is not sparse. Throws CORRUPT_STREAM for a format that tar does not write any more. */
  static of({ records }: TarMember): SparseMap | undefined {
    const size = records.get("GNU.sparse.realsize");
    if (size === undefined) return undefined;
    if (records.get("GNU.sparse.major") !== "1") throw corrupt();
    return new SparseMap(number(size));
  }

  /** The next bytes of the member's data as content of the file: bytes, or how many zeros. */
  *expand(data: Buffer): Generator<Buffer | number> {
    let at = this.#readMap(data);
    while (at < data.length) {
      const [offset, bytes] = this.#pieceAt();
      if (this.#position < offset) {
        yield offset - this.#position;
        this.#position = offset;
      }
      const taken = data.subarray(at, at + offset + bytes - this.#position);
      if (taken.length === 0) throw corrupt();
      yield taken;
      at += taken.length;
      this.#position += taken.length;
      this.#skipDone();
    }
  }

  /** The hole at the end. */
  *end(): Generator<number> {
    if (this.#position < this.sizeBytes) yield this.sizeBytes - this.#position;
    this.#position = this.sizeBytes;
  }

  /** Takes what belongs to the map; returns how many bytes that is. */
  #readMap(data: Buffer): number {
    const numbers = this.#numbers;
    if (numbers === undefined) return 0;
    let at = 0;
    while (at < data.length && (numbers.length === 0 || numbers.length < 1 + 2 * (numbers[0] as number))) {
      const end = data.indexOf(NEWLINE, at);
      this.#line += data.toString("latin1", at, end === -1 ? data.length : end);
      if (this.#line.length > 15) throw corrupt();
      this.#mapBytes += (end === -1 ? data.length : end + 1) - at;
      at = end === -1 ? data.length : end + 1;
      if (end === -1) return at;
      numbers.push(number(this.#line));
      this.#line = "";
    }
    if (numbers.length === 0 || numbers.length < 1 + 2 * (numbers[0] as number)) return at;
    const padding = (BLOCK_BYTES - (this.#mapBytes % BLOCK_BYTES)) % BLOCK_BYTES;
    const skipped = Math.min(padding, data.length - at);
    this.#mapBytes += skipped;
    if (skipped === padding) {
      this.#pieces = numbers.slice(1);
      this.#numbers = undefined;
      this.#skipDone();
    }
    return at + skipped;
  }

  #pieceAt(): [offset: number, bytes: number] {
    const [offset, bytes] = this.#pieces.slice(2 * this.#piece, 2 * this.#piece + 2);
    if (offset === undefined || bytes === undefined || offset < this.#position - bytes) throw corrupt();
    return [offset, bytes];
  }

  /** Pieces that have been read whole; tar ends a map with one of no bytes. */
  #skipDone(): void {
    while (2 * this.#piece < this.#pieces.length) {
      const [offset, bytes] = this.#pieceAt();
      if (bytes > 0 && this.#position < offset + bytes) return;
      this.#piece++;
    }
  }
}

function number(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw corrupt();
  return Number(text);
}

function corrupt(): DrayError {
  return new DrayError("CORRUPT_STREAM", "the tar has a damaged map of a sparse file");
}
