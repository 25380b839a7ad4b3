import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { addon, DIGEST_BYTES } from "../native/addon.ts";
import { BATCH_PAGES } from "./file-pages.ts";
import type { SparseMap } from "./sparse-map.ts";

/** The content of one file on its way, cut into pages. */
export class MemberDigests {
  readonly #sparse: SparseMap | undefined;
  readonly #key: Buffer;
  readonly #digests: Buffer;
  readonly #batch = Buffer.alloc(BATCH_PAGES * PAGE_BYTES);
  /** Bytes of the member that are still to come; what follows is padding. */
  #missingBytes: number;
  #fill = 0;
  #pagesDone = 0;
  /** It changes so fast that tar contradicts itself: more than there was when it began, or a map that does not ascend. */
  #isIrregular = false;

  constructor(storedBytes: number, pages: number, sparse: SparseMap | undefined, key: Buffer) {
    this.#sparse = sparse;
    this.#key = key;
    this.#missingBytes = storedBytes;
    this.#digests = Buffer.alloc(pages * DIGEST_BYTES);
  }

  add(chunk: Buffer): void {
    if (this.#isIrregular) return;
    const content = chunk.subarray(0, this.#missingBytes);
    this.#missingBytes -= content.length;
    if (this.#sparse === undefined) this.#addBytes(content);
    else this.#addPieces(this.#sparse.expand(content));
  }

  /** A digest per page, if all of the file has passed, and nothing else. */
  end(): Buffer | undefined {
    if (this.#sparse !== undefined) this.#addPieces(this.#sparse.end());
    if (this.#fill % PAGE_BYTES !== 0) this.#addZeros(PAGE_BYTES - (this.#fill % PAGE_BYTES));
    this.#digest();
    if (this.#isIrregular) return undefined;
    const isComplete = this.#missingBytes === 0 && this.#pagesDone * DIGEST_BYTES === this.#digests.length;
    return isComplete ? this.#digests : undefined;
  }

  #addPieces(pieces: Iterable<Buffer | number>): void {
    try {
      for (const piece of pieces) {
        if (typeof piece === "number") this.#addZeros(piece);
        else this.#addBytes(piece);
      }
    } catch (thrown) {
      if (toDrayError(thrown).reason !== "CORRUPT_STREAM") throw thrown;
      this.#isIrregular = true;
    }
  }

  #addBytes(bytes: Buffer): void {
    for (let at = 0; at < bytes.length && !this.#isIrregular; ) {
      const taken = bytes.copy(this.#batch, this.#fill, at);
      at += taken;
      this.#fill += taken;
      if (this.#fill === this.#batch.length) this.#digest();
    }
  }

  #addZeros(bytes: number): void {
    for (let left = bytes; left > 0 && !this.#isIrregular; ) {
      const taken = Math.min(left, this.#batch.length - this.#fill);
      this.#batch.fill(0, this.#fill, this.#fill + taken);
      left -= taken;
      this.#fill += taken;
      if (this.#fill === this.#batch.length) this.#digest();
    }
  }

  #digest(): void {
    const pages = this.#fill / PAGE_BYTES;
    const at = this.#pagesDone * DIGEST_BYTES;
    if (at + pages * DIGEST_BYTES > this.#digests.length) this.#isIrregular = true;
    if (pages === 0 || this.#isIrregular) return;
    addon().digest(this.#batch, 0, pages, this.#key, this.#digests, at);
    this.#pagesDone += pages;
    this.#fill = 0;
  }
}
