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

  constructor(storedBytes: number, pages: number, sparse: SparseMap | undefined, key: Buffer) {
    this.#sparse = sparse;
    this.#key = key;
    this.#missingBytes = storedBytes;
    this.#digests = Buffer.alloc(pages * DIGEST_BYTES);
  }

  add(chunk: Buffer): void {
    const content = chunk.subarray(0, this.#missingBytes);
    this.#missingBytes -= content.length;
    if (this.#sparse === undefined) this.#addBytes(content);
    else for (const piece of this.#sparse.expand(content)) this.#addPiece(piece);
  }

  /** A digest per page, if all of the file has passed. */
  end(): Buffer | undefined {
    if (this.#sparse !== undefined) for (const piece of this.#sparse.end()) this.#addPiece(piece);
    if (this.#fill % PAGE_BYTES !== 0) this.#addZeros(PAGE_BYTES - (this.#fill % PAGE_BYTES));
    this.#digest();
    const isComplete = this.#missingBytes === 0 && this.#pagesDone * DIGEST_BYTES === this.#digests.length;
    return isComplete ? this.#digests : undefined;
  }

  #addPiece(piece: Buffer | number): void {
    if (typeof piece === "number") this.#addZeros(piece);
    else this.#addBytes(piece);
  }

  #addBytes(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      const taken = bytes.copy(this.#batch, this.#fill, at);
      at += taken;
      this.#fill += taken;
      if (this.#fill === this.#batch.length) this.#digest();
    }
  }

  #addZeros(bytes: number): void {
    for (let left = bytes; left > 0; ) {
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
    if (pages === 0 || at + pages * DIGEST_BYTES > this.#digests.length) return;
    addon().digest(this.#batch, 0, pages, this.#key, this.#digests, at);
    this.#pagesDone += pages;
    this.#fill = 0;
  }
}
