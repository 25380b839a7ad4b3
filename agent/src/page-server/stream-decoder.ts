/**
 * Decodes what CRIU sends to a page server. Pure: bytes in, events out. Nothing of the content is copied or kept, and
 * the decoder holds no more than one header.
 *
 * Which of the two headers the client uses shows in its first command, which has neither pages nor an address: the last
 * word of the shorter one is its dst_id and never 0, and in the longer one that word is the address, which is 0. A close
 * that comes first is nothing but zeros in both, and is answered all the same.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { endOf, type ImageId, LAZY, PAGE_BYTES, PARENT, PRESENT, rangeFault } from "../memory-image/page-range.ts";
import { type HeaderBytes, imageOf, OPERATIONS, type Operation } from "./protocol.ts";

export type PageEvent =
  /** The image before, if any, is complete. The answer, where one is wanted, is told to `answered` as well. */
  | { readonly kind: "open"; readonly image: ImageId; readonly answerWanted: boolean }
  | { readonly kind: "parentInquiry"; readonly image: ImageId }
  /** A range of the open image. If it is PRESENT, its content follows, and nothing else before that is complete. */
  | { readonly kind: "entry"; readonly vaddr: number; readonly pages: number; readonly flags: number }
  /** A piece of content, at least one byte, in the memory of the chunk that was given to `decode`. */
  | { readonly kind: "data"; readonly bytes: Buffer }
  /** A lazy request: pages of the process with this pid, in its own namespace. */
  | { readonly kind: "get"; readonly pid: number; readonly vaddr: number; readonly pages: number }
  | { readonly kind: "close" };

const SHORT_HEADER_BYTES = 24;
const LONG_HEADER_BYTES = 32;
const OPERATION_NAMES: ReadonlyMap<number, Operation> = new Map(
  Object.entries(OPERATIONS).map(([name, code]) => [code, name as Operation]),
);
const CLOSING: ReadonlySet<Operation> = new Set(["close", "forceClose"]);
/** Those that have neither pages nor an address. */
const OPENING: ReadonlySet<Operation> = new Set(["open", "openAnswered", "parent"]);
const WORD = 2 ** 32;
const KNOWN_FLAGS = PARENT | LAZY | PRESENT;
/** Pids of 64-bit systems end here. */
const MOST_PID = 2 ** 22;

export class PageStreamDecoder {
  readonly #header = Buffer.alloc(LONG_HEADER_BYTES);
  #headerFill = 0;
  #headerBytes: HeaderBytes | undefined;
  #image: ImageId | undefined;
  /** Both halves of the dst_id of the open image. */
  #destination: readonly [low: number, high: number] = [0, 0];
  #imageEnd = 0;
  #holesAllowed = false;
  /** Content of the last entry that is still to come. */
  #dataBytes = 0;
  #closed = false;
  /** Zeros that may be the rest of a close whose length is not known. */
  #restBytes = 0;
  #failure: DrayError | undefined;

  /** Without `headerBytes`, they are found out. A client that begins with lazy requests shows nothing of them. */
  constructor(headerBytes?: HeaderBytes) {
    this.#headerBytes = headerBytes;
  }

  /** Which header the client uses; undefined before it has said enough. */
  get headerBytes(): HeaderBytes | undefined {
    return this.#headerBytes;
  }

  /**
   * The events of the next bytes, one at a time, to be taken to the end before the next call. Throws CORRUPT_STREAM, and
   * from then on always.
   */
  *decode(chunk: Buffer): Generator<PageEvent, void, undefined> {
    if (this.#failure !== undefined) throw this.#failure;
    for (let at = 0; at < chunk.length; ) {
      if (this.#closed) {
        this.#skipRest(chunk, at);
        return;
      }
      if (this.#dataBytes > 0) {
        const end = Math.min(chunk.length, at + this.#dataBytes);
        this.#dataBytes -= end - at;
        yield { kind: "data", bytes: chunk.subarray(at, end) };
        at = end;
        continue;
      }
      const wanted = this.#headerBytes ?? SHORT_HEADER_BYTES;
      const taken = chunk.copy(this.#header, this.#headerFill, at, at + wanted - this.#headerFill);
      at += taken;
      this.#headerFill += taken;
      if (this.#headerFill < wanted) return;
      const operation = this.#operation();
      if (this.#headerBytes === undefined && !CLOSING.has(operation)) {
        this.#headerBytes = this.#findOut(operation);
        if (this.#headerBytes > wanted) continue;
      }
      this.#headerFill = 0;
      yield this.#event(operation);
    }
  }

  /** What the client is answered about the parent of the image that it has just opened. Without this: none. */
  answered(hasParent: boolean): void {
    this.#holesAllowed = hasParent;
  }

  /** To be called at the end of the bytes; CORRUPT_STREAM if the client has not closed before. */
  finish(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closed) return;
    if (this.#dataBytes > 0) this.#fail(`ends ${this.#dataBytes} bytes before the end of a range`);
    if (this.#headerFill > 0) this.#fail(`ends within a command, ${this.#headerFill} bytes in`);
    this.#fail("ends before it was closed");
  }

  #operation(): Operation {
    const code = this.#header.readUInt16LE(0);
    const operation = OPERATION_NAMES.get(code);
    if (operation === undefined) this.#fail(`unknown operation ${code}`);
    return operation;
  }

  #findOut(operation: Operation): HeaderBytes {
    if (!OPENING.has(operation)) this.#fail(`begins with ${operation}`);
    return this.#header.readBigUInt64LE(16) === 0n ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES;
  }

  #event(operation: Operation): PageEvent {
    const flags = this.#header.readUInt16LE(2);
    if (operation !== "addFlagged" && flags !== 0) this.#fail(`${operation} with flags ${flags}`);
    switch (operation) {
      case "open":
      case "openAnswered":
        return this.#open(operation === "openAnswered");
      case "parent":
        return { kind: "parentInquiry", image: this.#named(operation) };
      case "add":
        return this.#entry(PRESENT);
      case "hole":
        return this.#entry(PARENT);
      case "addFlagged":
        if ((flags & ~KNOWN_FLAGS) !== 0) this.#fail(`a range with flags ${flags}`);
        return this.#entry(flags);
      case "get":
        return this.#get();
      case "close":
      case "forceClose":
        this.#closed = true;
        this.#image = undefined;
        this.#restBytes = this.#headerBytes === undefined ? LONG_HEADER_BYTES - SHORT_HEADER_BYTES : 0;
        return { kind: "close" };
    }
  }

  #open(answerWanted: boolean): PageEvent {
    const image = this.#named(answerWanted ? "openAnswered" : "open");
    this.#image = image;
    this.#destination = this.#words(this.#destinationAt);
    this.#imageEnd = 0;
    this.#holesAllowed = false;
    return { kind: "open", image, answerWanted };
  }

  #entry(flags: number): PageEvent {
    const [low, high] = this.#words(this.#destinationAt);
    if (this.#image === undefined || low !== this.#destination[0] || high !== this.#destination[1]) {
      this.#fail("a range of an image that is not open");
    }
    const range = { vaddr: this.#vaddr(), pages: this.#pages(), flags };
    const fault = rangeFault(range, this.#imageEnd);
    if (fault !== null) this.#fail(fault);
    if ((flags & PARENT) !== 0 && !this.#holesAllowed) this.#fail("a hole where there is no parent");
    this.#imageEnd = endOf(range);
    if ((flags & PRESENT) !== 0) this.#dataBytes = range.pages * PAGE_BYTES;
    return { kind: "entry", ...range };
  }

  #get(): PageEvent {
    const [pid, high] = this.#words(this.#destinationAt);
    if (high !== 0 || pid === 0 || pid > MOST_PID) this.#fail("a request for pages of no process");
    const range = { vaddr: this.#vaddr(), pages: this.#pages() };
    const fault = rangeFault({ ...range, flags: LAZY }, 0);
    if (fault !== null) this.#fail(`a request for ${fault}`);
    return { kind: "get", pid, ...range };
  }

  #named(operation: Operation): ImageId {
    const image = imageOf(...this.#words(this.#destinationAt));
    if (image === null) this.#fail(`${operation} of an unknown kind of image`);
    if (this.#vaddr() !== 0 || this.#pages() !== 0) this.#fail(`${operation} with a range`);
    return image;
  }

  #vaddr(): number {
    const [low, high] = this.#words(this.#destinationAt - 8);
    // Said here as well: a number as large as a bad one may be has no place for these digits.
    if (low % PAGE_BYTES !== 0) this.#fail("a range that begins inside of a page");
    return low + high * WORD;
  }

  #pages(): number {
    if (this.#headerBytes === SHORT_HEADER_BYTES) return this.#header.readUInt32LE(4);
    const [low, high] = this.#words(8);
    return low + high * WORD;
  }

  get #destinationAt(): number {
    return (this.#headerBytes ?? SHORT_HEADER_BYTES) - 8;
  }

  #words(at: number): [low: number, high: number] {
    return [this.#header.readUInt32LE(at), this.#header.readUInt32LE(at + 4)];
  }

  #skipRest(chunk: Buffer, at: number): void {
    const rest = chunk.subarray(at);
    if (rest.length > this.#restBytes || rest.some((byte) => byte !== 0)) this.#fail("goes on after it was closed");
    this.#restBytes -= rest.length;
  }

  #fail(what: string): never {
    this.#failure = new DrayError("CORRUPT_STREAM", `CRIU's page stream: ${what}`);
    throw this.#failure;
  }
}
