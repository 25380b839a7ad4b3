/**
 * Makes the payloads of single frames smaller where it pays: pages of one byte are left out, and what is left is
 * compressed if it looks as if that were worth it. Memory is either full of repetitions or does not compress at all,
 * so a look at a few bytes decides; content that does not compress costs next to nothing.
 *
 * zstd at a fast level takes about the processor time of encrypting, sending, receiving and decrypting the bytes that it
 * saves, if it saves most of them. So whether it pays is a matter of the link: what the saved bytes would have cost on
 * their way, the wait for a slow link above all, against the time that the attempts take. The frames of a fast link
 * are compressed if little is left of them, those of a slow one if anything is saved.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { DrayError } from "../errors/dray-error.ts";
import { crc32 } from "./crc.ts";
import { freeMemory } from "./free-memory.ts";
import { contentSeed, DATA_BYTES, type Frame } from "./frame.ts";
import type { SendingCost } from "./sending-cost.ts";
import { DESCRIPTION_BYTES, packPages, unpackPages } from "./uniform-pages.ts";

/** Types of the frames that carry content. */
export type ContentType = "data" | "packedData" | "compressedData";

/** Memory that a payload of DATA_BYTES needs while it is made smaller. */
export const PACKING_BYTES = DATA_BYTES + DESCRIPTION_BYTES;

/** Negative levels leave out the entropy coding, which costs most and matters least for pages. */
const LEVEL = -5;
/** Longest distance of a repetition, as a power of two: a whole frame. */
const WINDOW_LOG = 18;
/** What does not compress becomes this much larger at most; in one piece the result needs no joining. */
const GROWTH_LIMIT_BYTES = 1024;
/** As long as the link is not known, a compressed frame must be smaller than this share of the packed one. */
const WORTH_SHARE = 0.6;
/** The receiver decrypts what the sender encrypts, in about the same time. */
const ENDS = 2;
/** What it takes to compress and decompress, in the time of compressing alone. */
const WAY_AND_BACK = 1.3;
/** How much one that took longer than those before it counts: the scheduler interrupts some, and the first is slow. */
const NEW_SHARE = 1 / 8;
/** Smaller payloads save less than the attempt costs. */
const SMALLEST_BYTES = 4096;
/** Bytes of a payload that are looked at; noise of that many looks like noise, a hundred thousand to one. */
const SAMPLE_BYTES = 256;
/** They lie so much closer than that many would. */
const STRIDE_SHARE = 0.96;
/** How much likelier than by chance two bytes of the sample are equal, from where an attempt is made. */
const WORTH_LIKENESS = 2;
/** After attempts that failed, this many frames at most are sent without one. */
const SKIP_LIMIT_FRAMES = 64;

/** Makes the frames of one file smaller, and learns from what does not work. */
export class FrameCompressor {
  readonly #counts = new Uint16Array(256);
  readonly #nowMs: () => number;
  /** Milliseconds for a byte of content. */
  #attemptMs: number | undefined;
  #skippedAfterFailure = 0;
  #framesToSkip = 0;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /**
   * Works on the first `bytes` of `space`, in place; `space` must have room for PACKING_BYTES. `cost`: of the way that
   * the frame will take, if it is known. Also returns the frame's checksum, taken of the content before anything is done
   * with it.
   */
  compress(
    space: Buffer,
    {
      bytes,
      streamId,
      cost,
    }: { readonly bytes: number; readonly streamId: number; readonly cost?: SendingCost | undefined },
  ): { type: ContentType; bytes: number; crc: number } {
    const seed = contentSeed(streamId, bytes);
    if (bytes < SMALLEST_BYTES) return { type: "data", bytes, crc: crc32(space.subarray(0, bytes), seed) };
    const packed = packPages(space, bytes, seed);
    const compressedBytes = this.#compressPacked(space.subarray(0, packed.bytes), packed.literalBytes, cost);
    if (compressedBytes > 0) return { type: "compressedData", bytes: compressedBytes, crc: packed.crc };
    if (packed.literalBytes < bytes) return { type: "packedData", bytes: packed.bytes, crc: packed.crc };
    // Without a page left out the content lies where it lay.
    return { type: "data", bytes, crc: packed.literalCrc };
  }

  /** Returns 0 if the payload was left as it was. */
  #compressPacked(payload: Buffer, literalBytes: number, cost: SendingCost | undefined): number {
    if (literalBytes < SMALLEST_BYTES || this.#likeness(payload.subarray(0, literalBytes)) < WORTH_LIKENESS) return 0;
    if (this.#framesToSkip > 0) {
      this.#framesToSkip -= 1;
      return 0;
    }
    const beganMs = this.#nowMs();
    const compressed = zstdCompressSync(payload, {
      chunkSize: PACKING_BYTES + GROWTH_LIMIT_BYTES,
      params: { [constants.ZSTD_c_compressionLevel]: LEVEL, [constants.ZSTD_c_windowLog]: WINDOW_LOG },
    });
    const { length } = compressed;
    this.#learn((this.#nowMs() - beganMs) / payload.length);
    const worth = this.#pays(payload.length, length, cost);
    if (worth) payload.set(compressed);
    freeMemory(compressed);
    this.#skippedAfterFailure = worth ? 0 : Math.min(SKIP_LIMIT_FRAMES, 2 * this.#skippedAfterFailure + 1);
    this.#framesToSkip = this.#skippedAfterFailure;
    return worth ? length : 0;
  }

  /** Less is believed at once. */
  #learn(attemptMs: number): void {
    const known = this.#attemptMs ?? attemptMs;
    this.#attemptMs = attemptMs < known ? attemptMs : known + NEW_SHARE * (attemptMs - known);
  }

  #pays(payloadBytes: number, compressedBytes: number, cost: SendingCost | undefined): boolean {
    if (cost === undefined) return compressedBytes < payloadBytes * WORTH_SHARE;
    const savedMs = (payloadBytes - compressedBytes) * (ENDS * cost.processorMs + cost.waitMs);
    return savedMs > payloadBytes * WAY_AND_BACK * (this.#attemptMs as number);
  }

  /** How much likelier two bytes are equal than in random data: 1 for noise, 256 for one byte over and over. */
  #likeness(payload: Buffer): number {
    const counts = this.#counts.fill(0);
    // Odd, and no neighbour of a power of two, so that it falls on all places of pages and of most records in them.
    const stride = Math.floor((STRIDE_SHARE * payload.length) / SAMPLE_BYTES) | 1;
    let samples = 0;
    for (let at = 0; at < payload.length; at += stride) {
      const byte = payload[at] as number;
      counts[byte] = (counts[byte] as number) + 1;
      samples += 1;
    }
    let equalPairs = 0;
    for (const count of counts) equalPairs += count * (count - 1);
    return (256 * equalPairs) / (samples * (samples - 1));
  }
}

/**
 * The content of a frame; `release` is told of memory that is not needed any more. CORRUPT_STREAM if the payload is no
 * result of compress(), or what comes out is not what went in; nothing larger than PACKING_BYTES is ever set aside for
 * it.
 */
export function decompress(
  { type, streamId, payload, crc }: Frame & { readonly type: ContentType },
  allocate: (bytes: number) => Buffer,
  release: (memory: Buffer) => void,
): Buffer {
  if (type === "data") return payload;
  const packed = type === "compressedData" ? decompressPacked(payload) : payload;
  const unpacked = unpackPages(packed, allocate, (bytes) => contentSeed(streamId, bytes));
  if (packed !== payload) freeMemory(packed);
  release(payload);
  if (unpacked.crc !== crc) {
    throw new DrayError("CORRUPT_STREAM", "page stream: what was packed into a frame did not come out of it");
  }
  return unpacked.original;
}

function decompressPacked(payload: Buffer): Buffer {
  try {
    return zstdDecompressSync(payload, {
      // One byte more than fits: a result that fills its chunk makes zlib set another aside.
      chunkSize: PACKING_BYTES + 1,
      maxOutputLength: PACKING_BYTES,
      rejectGarbageAfterEnd: true,
      params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG },
    });
  } catch (cause) {
    throw new DrayError("CORRUPT_STREAM", "page stream: a compressed frame does not decompress", { cause });
  }
}
