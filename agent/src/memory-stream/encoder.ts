/** Makes control pages of a memory stream; see format.ts. Pure: the content is never touched. */
import { type ImageId, PAGE_BYTES, PRESENT } from "../memory-image/page-range.ts";
import {
  CHANGES_AT,
  CHANGES_LIMIT,
  HEAD_BYTES,
  IMAGE_KINDS,
  MAGIC,
  OPERATIONS,
  RECORD_BYTES,
  RECORD_LIMIT,
  REPEAT_FLAGS,
  REPEAT_PAGES_LIMIT,
} from "./format.ts";

export class MemoryStreamEncoder {
  readonly #page = Buffer.alloc(PAGE_BYTES);
  /** Pieces of content of the ranges in the page. */
  #content: Buffer[] = [];
  #records = 0;
  /** Of its deltas, and how long they are. */
  readonly #changes = Buffer.alloc(CHANGES_LIMIT);
  #changeBytes = 0;

  /** What is added from now on belongs to this image. */
  *open({ kind, id }: ImageId): Generator<Buffer> {
    yield* this.#room();
    this.#record(OPERATIONS.open, IMAGE_KINDS[kind], 0, id);
  }

  /**
   * A range of the open image. `content` has the pages of one that is PRESENT, and is not copied: it may change again
   * when the next call to any of these has been made and taken to its end, if `flush` was.
   */
  *range(vaddr: number, pages: number, flags: number, content?: Buffer): Generator<Buffer> {
    if ((content?.length ?? 0) !== ((flags & PRESENT) === 0 ? 0 : pages * PAGE_BYTES)) {
      throw new RangeError(`${content?.length ?? 0} bytes of content for ${pages} pages with flags ${flags}`);
    }
    yield* this.#room();
    this.#record(OPERATIONS.range, flags, vaddr, pages);
    if (content !== undefined) this.#content.push(content);
  }

  /** A range of the open image, PRESENT, whose pages have the content of those from number `from` on; see format.ts. */
  *repeat(vaddr: number, pages: number, flags: number, from: number): Generator<Buffer> {
    if ((flags & PRESENT) === 0 || pages > REPEAT_PAGES_LIMIT) {
      throw new RangeError(`${pages} pages with flags ${flags} cannot repeat others`);
    }
    yield* this.#room();
    this.#record(OPERATIONS.repeat, flags * REPEAT_FLAGS + pages, vaddr, from);
  }

  /** A page of the open image, PRESENT, as a change of what its parent has. Copied. */
  *delta(vaddr: number, flags: number, change: Buffer): Generator<Buffer> {
    if ((flags & PRESENT) === 0 || change.length > CHANGES_LIMIT) {
      throw new RangeError(`a change of ${change.length} bytes with flags ${flags}`);
    }
    if (this.#changeBytes + change.length > CHANGES_LIMIT) yield* this.flush();
    yield* this.#room();
    this.#record(OPERATIONS.delta, flags * REPEAT_FLAGS + 1, vaddr, change.length);
    change.copy(this.#changes, this.#changeBytes);
    this.#changeBytes += change.length;
  }

  /** All that was added so far: a control page and the content of its ranges. Nothing if nothing was. */
  *flush(): Generator<Buffer> {
    if (this.#records === 0) return;
    const content = this.#content;
    this.#page.writeUInt32LE(MAGIC, 0);
    this.#page.writeUInt32LE(this.#records, 4);
    this.#page.fill(0, HEAD_BYTES + this.#records * RECORD_BYTES);
    this.#records = 0;
    this.#content = [];
    const bytes = this.#changeBytes;
    this.#changeBytes = 0;
    this.#page.writeUInt32LE(bytes, CHANGES_AT);
    yield this.#page;
    if (bytes > 0) {
      const padded = Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
      yield this.#changes.fill(0, bytes, padded).subarray(0, padded);
    }
    yield* content;
  }

  /** The end of the stream. */
  *end(): Generator<Buffer> {
    yield* this.#room();
    this.#record(OPERATIONS.end, 0, 0, 0);
    yield* this.flush();
  }

  *#room(): Generator<Buffer> {
    if (this.#records === RECORD_LIMIT) yield* this.flush();
  }

  #record(operation: number, detail: number, address: number, number: number): void {
    const at = HEAD_BYTES + this.#records * RECORD_BYTES;
    this.#page.writeUInt32LE(operation, at);
    this.#page.writeUInt32LE(detail, at + 4);
    this.#page.writeBigUInt64LE(BigInt(address), at + 8);
    this.#page.writeBigUInt64LE(BigInt(number), at + 16);
    this.#records++;
  }
}
