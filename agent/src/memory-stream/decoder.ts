/**
 * Reads a memory stream; see format.ts. Pure: bytes in, events out. Holds a control page, its changes, and a part of a page at most;
 * content is given out as it comes.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { endOf, type ImageId, PAGE_BYTES, PRESENT, rangeFault } from "../memory-image/page-range.ts";
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

export type MemoryEvent =
  | { readonly kind: "open"; readonly image: ImageId }
  /** If it is PRESENT, its content follows, and nothing else before that is complete. */
  | { readonly kind: "range"; readonly vaddr: number; readonly pages: number; readonly flags: number }
  /** A piece of content, in the memory of the chunk that was given to `decode`. */
  | { readonly kind: "content"; readonly bytes: Buffer }
  /** Pages that are PRESENT, with the content of those from number `from` on, counted over all that were. */
  | {
      readonly kind: "repeat";
      readonly vaddr: number;
      readonly pages: number;
      readonly flags: number;
      readonly from: number;
    }
  /** A page that is PRESENT, as a change of what the parent has. Valid until the next call. */
  | { readonly kind: "delta"; readonly vaddr: number; readonly flags: number; readonly change: Buffer }
  | { readonly kind: "end" };

export class MemoryStreamDecoder {
  readonly #page = Buffer.alloc(PAGE_BYTES);
  #pageFill = 0;
  /** Next record of the control page, and how many it has. */
  #record = 0;
  #records = 0;
  /** Content of the last range that is still to come. */
  #contentBytes = 0;
  #image: ImageId | undefined;
  /** Changes of the deltas of the control page: what has come, how much must, and where the next begins. */
  readonly #changes = Buffer.alloc(CHANGES_LIMIT);
  #changesFill = 0;
  #changesBytes = 0;
  #nextChange = 0;
  /** PRESENT so far. */
  #presentPages = 0;
  #imageEnd = 0;
  #ended = false;

  /** The events of the next bytes, to be taken to the end before the next call. Throws CORRUPT_STREAM. */
  *decode(chunk: Buffer): Generator<MemoryEvent, void, undefined> {
    for (let at = 0; ; ) {
      if (this.#contentBytes > 0) {
        const bytes = chunk.subarray(at, at + this.#contentBytes);
        if (bytes.length === 0) return;
        at += bytes.length;
        this.#contentBytes -= bytes.length;
        yield { kind: "content", bytes };
      } else if (this.#changesFill < this.#changesBytes) {
        const taken = chunk.copy(this.#changes, this.#changesFill, at, at + this.#changesBytes - this.#changesFill);
        if (taken === 0) return;
        at += taken;
        this.#changesFill += taken;
      } else if (this.#record < this.#records) {
        yield this.#next();
      } else {
        if (at === chunk.length) return;
        if (this.#ended) throw corrupt("goes on behind its end");
        const taken = chunk.copy(this.#page, this.#pageFill, at);
        at += taken;
        this.#pageFill += taken;
        if (this.#pageFill < PAGE_BYTES) return;
        this.#pageFill = 0;
        this.#open();
      }
    }
  }

  /** To be called at the end of the bytes; CORRUPT_STREAM if more should have come. */
  finish(): void {
    if (!this.#ended) throw corrupt("was cut off");
  }

  #open(): void {
    const records = this.#page.readUInt32LE(4);
    if (this.#page.readUInt32LE(0) !== MAGIC) throw corrupt("has no control page where one must be");
    if (records === 0 || records > RECORD_LIMIT) throw corrupt(`has a control page of ${records} records`);
    const changes = this.#page.readUInt32LE(CHANGES_AT);
    if (changes > CHANGES_LIMIT) throw corrupt(`has ${changes} bytes of changes behind a control page`);
    this.#record = 0;
    this.#records = records;
    this.#changesFill = 0;
    this.#changesBytes = Math.ceil(changes / PAGE_BYTES) * PAGE_BYTES;
    this.#nextChange = 0;
  }

  #next(): MemoryEvent {
    const at = HEAD_BYTES + this.#record * RECORD_BYTES;
    this.#record++;
    if (this.#ended) throw corrupt("goes on behind its end");
    const operation = this.#page.readUInt32LE(at);
    const detail = this.#page.readUInt32LE(at + 4);
    const address = Number(this.#page.readBigUInt64LE(at + 8));
    const number = Number(this.#page.readBigUInt64LE(at + 16));
    switch (operation) {
      case OPERATIONS.open:
        return this.#openImage(detail, number);
      case OPERATIONS.range:
        return this.#range({ vaddr: address, pages: number, flags: detail });
      case OPERATIONS.repeat: {
        const flags = Math.floor(detail / REPEAT_FLAGS);
        return this.#repeat({ vaddr: address, pages: detail % REPEAT_FLAGS, flags }, number);
      }
      case OPERATIONS.delta:
        return this.#delta(address, Math.floor(detail / REPEAT_FLAGS), number);
      case OPERATIONS.end:
        this.#ended = true;
        return { kind: "end" };
      default:
        throw corrupt(`has a record of unknown operation ${operation}`);
    }
  }

  #openImage(code: number, id: number): MemoryEvent {
    const kind = code === IMAGE_KINDS.task ? "task" : code === IMAGE_KINDS.shared ? "shared" : undefined;
    if (kind === undefined || !Number.isSafeInteger(id)) throw corrupt(`opens an image of kind ${code}, id ${id}`);
    this.#image = { kind, id };
    this.#imageEnd = 0;
    return { kind: "open", image: this.#image };
  }

  #repeat(range: { vaddr: number; pages: number; flags: number }, from: number): MemoryEvent {
    // Not of itself: what it repeats has come.
    if ((range.flags & PRESENT) === 0 || range.pages > REPEAT_PAGES_LIMIT || from + range.pages > this.#presentPages) {
      throw corrupt(`repeats ${range.pages} pages from ${from} on, of ${this.#presentPages}`);
    }
    this.#demandNext(range);
    return { kind: "repeat", ...range, from };
  }

  #delta(vaddr: number, flags: number, bytes: number): MemoryEvent {
    if ((flags & PRESENT) === 0 || bytes > this.#changesBytes - this.#nextChange) {
      throw corrupt(`has a change of ${bytes} bytes where there are ${this.#changesBytes - this.#nextChange}`);
    }
    this.#demandNext({ vaddr, pages: 1, flags });
    const change = this.#changes.subarray(this.#nextChange, this.#nextChange + bytes);
    this.#nextChange += bytes;
    return { kind: "delta", vaddr, flags, change };
  }

  #range(range: { vaddr: number; pages: number; flags: number }): MemoryEvent {
    this.#demandNext(range);
    if ((range.flags & PRESENT) !== 0) this.#contentBytes = range.pages * PAGE_BYTES;
    return { kind: "range", ...range };
  }

  #demandNext(range: { vaddr: number; pages: number; flags: number }): void {
    if (this.#image === undefined) throw corrupt("has a range before any image");
    const fault = rangeFault(range, this.#imageEnd);
    if (fault !== null) throw corrupt(`has ${fault}`);
    this.#imageEnd = endOf(range);
    if ((range.flags & PRESENT) !== 0) this.#presentPages += range.pages;
  }
}

function corrupt(what: string): DrayError {
  return new DrayError("CORRUPT_STREAM", `the stream of memory ${what}`);
}
