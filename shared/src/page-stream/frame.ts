/**
 * Codec of the frames on the page socket. Pure: bytes in, frames out.
 *
 * ```
 *  0        2         3      4           8          12          16
 * ┌────────┬─────────┬──────┬───────────┬──────────┬───────────┬───────────────┐
 * │ magic  │ version │ type │ stream id │ length   │ crc32     │ payload       │
 * │ "DP"   │ 1       │ u8   │ u32       │ u32      │ u32       │ length bytes  │
 * └────────┴─────────┴──────┴───────────┴──────────┴───────────┴───────────────┘
 *  ├──────────── covered by the crc32 ────────────┤             ├── and this ──┤   unless it is packed
 * ```
 *
 * Numbers are big-endian. Stream 0 is the connection itself. A payload has at most 1 MiB, which is also all that the
 * decoder ever allocates for a peer that has not been understood yet. Anything that is not exactly such a sequence of
 * frames is CORRUPT_STREAM; nothing of a frame is given out before its checksum was found right, unless it is packed.
 *
 * Content travels as `data`, or smaller as `packedData` or `compressedData` (see compression.ts). The checksum of these
 * two is that of what is packed: the sender takes it before it makes anything smaller, the receiver compares it with
 * what came out. So each byte is summed once on either side, and vouched for from end to end.
 */
import { DrayError } from "../errors/dray-error.ts";
import { crc32 } from "./crc.ts";

export const HEADER_BYTES = 16;
export const PAYLOAD_LIMIT_BYTES = 1024 * 1024;
/** What a sender puts into a data frame: it stays in the processor's cache, and what each frame costs is spread over more than in smaller ones. */
export const DATA_BYTES = 256 * 1024;

const MAGIC = 0x4450;
const VERSION = 1;
/** Bytes of the header that the checksum covers. */
const CHECKED_HEADER_BYTES = 12;

export const FRAME_TYPES = {
  hello: 1,
  welcome: 2,
  refusal: 3,
  openFile: 4,
  data: 5,
  closeFile: 6,
  delivered: 7,
  error: 8,
  credit: 9,
  ping: 10,
  bye: 11,
  packedData: 12,
  compressedData: 13,
  inquiry: 14,
  offer: 15,
  word: 16,
  laneHello: 17,
  laneWelcome: 18,
} as const;

export type FrameType = keyof typeof FRAME_TYPES;

/** Of these the checksum is that of what is packed. */
const SUMMED_INSIDE: ReadonlySet<FrameType> = new Set(["packedData", "compressedData"]);

const TYPE_NAMES: ReadonlyMap<number, FrameType> = new Map(
  Object.entries(FRAME_TYPES).map(([name, code]) => [code, name as FrameType]),
);

export interface Frame {
  readonly type: FrameType;
  readonly streamId: number;
  readonly payload: Buffer;
  /** The checksum: found right, but for packed and compressed content, where it is that of what is in the payload. */
  readonly crc: number;
}

/**
 * Writes the header in front of a payload that already lies at HEADER_BYTES of `frame`, so that header and payload
 * leave in one write and nothing is copied.
 */
export function sealFrame(frame: Buffer, type: FrameType, streamId: number, payloadBytes: number): void {
  if (payloadBytes > PAYLOAD_LIMIT_BYTES || frame.length < HEADER_BYTES + payloadBytes) {
    throw new RangeError(`payload of ${payloadBytes} bytes in a frame of ${frame.length}`);
  }
  const headerCrc = writeHeader(frame, type, streamId, payloadBytes);
  frame.writeUInt32BE(
    crc32(frame.subarray(HEADER_BYTES, HEADER_BYTES + payloadBytes), headerCrc),
    CHECKED_HEADER_BYTES,
  );
}

/** As sealFrame, with a checksum that has been taken already. */
export function sealContent(
  frame: Buffer,
  { type, streamId, payloadBytes, crc }: { type: FrameType; streamId: number; payloadBytes: number; crc: number },
): void {
  writeHeader(frame, type, streamId, payloadBytes);
  frame.writeUInt32BE(crc, CHECKED_HEADER_BYTES);
}

/** What the checksum of content begins with, whatever frame it travels in: the header that it has as a data frame. */
export function contentSeed(streamId: number, bytes: number): number {
  return writeHeader(Buffer.allocUnsafe(CHECKED_HEADER_BYTES), "data", streamId, bytes);
}

/** All of a header but the checksum; returns the checksum of that. */
function writeHeader(space: Buffer, type: FrameType, streamId: number, payloadBytes: number): number {
  space.writeUInt16BE(MAGIC, 0);
  space.writeUInt8(VERSION, 2);
  space.writeUInt8(FRAME_TYPES[type], 3);
  space.writeUInt32BE(streamId, 4);
  space.writeUInt32BE(payloadBytes, 8);
  return crc32(space.subarray(0, CHECKED_HEADER_BYTES), 0);
}

/** Of a frame whose header was written. */
export function streamOf(frame: Buffer): number {
  return frame.readUInt32BE(4);
}

/** Encodes one frame, copying the payload; for small messages. */
export function encodeFrame(type: FrameType, streamId: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  frame.set(payload, HEADER_BYTES);
  sealFrame(frame, type, streamId, payload.length);
  return frame;
}

/**
 * Running digest over the content of one file: the crc32 of the checksums of its frames in order. Each frame vouches for its own bytes; this vouches that none is missing, doubled or
 * out of place.
 */
export function chainDigest(digest: number, frameCrc: number): number {
  const word = Buffer.allocUnsafe(4);
  word.writeUInt32BE(frameCrc, 0);
  return crc32(word, digest);
}

/** Takes bytes as they come and gives out whole, verified frames. After an error it stays unusable. */
export class FrameDecoder {
  readonly #allocate: (bytes: number) => Buffer;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerFill = 0;
  #type: FrameType = "ping";
  #streamId = 0;
  #payload: Buffer | undefined;
  #payloadFill = 0;
  #crc = 0;
  #failure: DrayError | undefined;

  /**
   * `allocate` gives memory for a payload, of exactly that length. By default it does not come from Node's shared pool,
   * where a kept slice would keep 64 KiB alive.
   */
  constructor(allocate: (bytes: number) => Buffer = Buffer.allocUnsafeSlow) {
    this.#allocate = allocate;
  }

  /** Calls `emit` for each frame that is complete with this chunk; the payload belongs to the caller. */
  push(chunk: Buffer, emit: (frame: Frame) => void): void {
    if (this.#failure !== undefined) throw this.#failure;
    let offset = 0;
    while (offset < chunk.length || this.#complete()) {
      if (this.#payload === undefined) {
        offset += this.#fillHeader(chunk, offset);
        continue;
      }
      offset += this.#fillPayload(chunk, offset);
      if (this.#complete()) emit(this.#take());
    }
  }

  /** To be called at the end of the bytes; CORRUPT_STREAM if they end within a frame. */
  finish(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#payload !== undefined) {
      this.#fail(`ends within a ${this.#type} frame, ${this.#payloadFill} of ${this.#payload.length} payload bytes in`);
    }
    if (this.#headerFill > 0) this.#fail(`ends within a header, ${this.#headerFill} bytes in`);
  }

  #complete(): boolean {
    return this.#payload !== undefined && this.#payloadFill === this.#payload.length;
  }

  #fillHeader(chunk: Buffer, offset: number): number {
    const taken = chunk.copy(this.#header, this.#headerFill, offset);
    this.#headerFill += taken;
    if (this.#headerFill === HEADER_BYTES) this.#openPayload();
    return taken;
  }

  #openPayload(): void {
    const magic = this.#header.readUInt16BE(0);
    if (magic !== MAGIC) this.#fail(`bad magic 0x${magic.toString(16)}`);
    const version = this.#header.readUInt8(2);
    if (version !== VERSION) this.#fail(`unknown frame version ${version}`);
    const typeCode = this.#header.readUInt8(3);
    const type = TYPE_NAMES.get(typeCode);
    if (type === undefined) this.#fail(`unknown frame type ${typeCode}`);
    const length = this.#header.readUInt32BE(8);
    if (length > PAYLOAD_LIMIT_BYTES) this.#fail(`${type} frame of ${length} bytes, limit ${PAYLOAD_LIMIT_BYTES}`);
    this.#type = type;
    this.#streamId = this.#header.readUInt32BE(4);
    this.#payload = this.#allocate(length);
    this.#payloadFill = 0;
    this.#crc = crc32(this.#header.subarray(0, CHECKED_HEADER_BYTES), 0);
  }

  #fillPayload(chunk: Buffer, offset: number): number {
    const payload = this.#payload as Buffer;
    const taken = Math.min(chunk.length - offset, payload.length - this.#payloadFill);
    if (taken === 0) return 0;
    const piece = chunk.subarray(offset, offset + taken);
    payload.set(piece, this.#payloadFill);
    if (!SUMMED_INSIDE.has(this.#type)) this.#crc = crc32(piece, this.#crc);
    this.#payloadFill += taken;
    return taken;
  }

  #take(): Frame {
    const expected = this.#header.readUInt32BE(CHECKED_HEADER_BYTES);
    if (this.#crc !== expected && !SUMMED_INSIDE.has(this.#type)) {
      this.#fail(`checksum of a ${this.#type} frame is wrong`);
    }
    const frame = { type: this.#type, streamId: this.#streamId, payload: this.#payload as Buffer, crc: expected };
    this.#payload = undefined;
    this.#headerFill = 0;
    return frame;
  }

  #fail(what: string): never {
    this.#failure = new DrayError("CORRUPT_STREAM", `page stream: ${what}`);
    this.#payload = undefined;
    throw this.#failure;
  }
}
