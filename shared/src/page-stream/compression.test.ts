import { randomBytes } from "node:crypto";
import { constants, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DrayError } from "../errors/dray-error.ts";
import { type ContentType, decompress, FrameCompressor, PACKING_BYTES } from "./compression.ts";
import { DATA_BYTES, dataChecksum } from "./frame.ts";

/** Repeats itself, and has no page of one byte. */
const text = Buffer.from("a page of words, ".repeat(DATA_BYTES / 16)).subarray(0, DATA_BYTES);
const STREAM_ID = 7;
const halfNoise = Buffer.concat([randomBytes(DATA_BYTES / 2), Buffer.alloc(DATA_BYTES / 2, "x")]);

function compress(content: Buffer, compressor = new FrameCompressor()): { type: ContentType; payload: Buffer } {
  const space = Buffer.alloc(PACKING_BYTES);
  content.copy(space);
  const { type, bytes } = compressor.compress(space, content.length, dataChecksum(STREAM_ID, content));
  return { type, payload: space.subarray(0, bytes) };
}

function decompressed(type: ContentType, payload: Buffer, streamId = STREAM_ID): Buffer {
  // The decoder has found the checksum of plain data right; see frame.test.ts.
  const crc = dataChecksum(streamId, payload);
  const { content, dataCrc } = decompress({ type, streamId, payload, crc }, Buffer.alloc, () => undefined);
  expect(dataCrc).toBe(dataChecksum(streamId, content));
  return content;
}

function reasonOf(payload: Buffer, type: ContentType = "compressedData"): string {
  try {
    decompressed(type, payload);
  } catch (error) {
    return error instanceof DrayError ? error.reason : `not ours: ${error}`;
  }
  return "accepted";
}

describe("frames", () => {
  test("come back as they were and never grow", () => {
    const bytes = fc.integer({ min: 1, max: 40_000 });
    const piece = fc.oneof(
      bytes.map((length) => randomBytes(length)),
      fc.tuple(bytes, fc.integer({ min: 0, max: 255 })).map(([length, letter]) => Buffer.alloc(length, letter)),
      bytes.map((length) => text.subarray(0, length)),
    );
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 5 }), (pieces) => {
        const content = Buffer.concat(pieces).subarray(0, DATA_BYTES);
        const { type, payload } = compress(content);
        expect(payload.length).toBeLessThanOrEqual(content.length);
        expect(decompressed(type, payload).equals(content)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    ["one byte", Buffer.alloc(DATA_BYTES, 1), "packedData", 100],
    ["half noise, half one byte", halfNoise, "packedData", DATA_BYTES / 2 + 100],
    ["words", text, "compressedData", 500],
    ["words and cleared pages", Buffer.concat([text.subarray(0, 65_536), Buffer.alloc(65_536)]), "compressedData", 500],
    ["noise", randomBytes(DATA_BYTES), "data", DATA_BYTES],
    ["a few bytes", Buffer.alloc(100), "data", 100],
  ])("of %s", (_what, content, type, limitBytes) => {
    const result = compress(content);
    expect(result.type).toBe(type);
    expect(result.payload.length).toBeLessThanOrEqual(limitBytes);
  });

  test("that look as if they would and do not make the attempts rarer, one that does brings them back", () => {
    const compressor = new FrameCompressor();
    const deceptive = Buffer.from(randomBytes(DATA_BYTES).map((byte) => byte & 0x3f));
    for (let frame = 0; frame < 3; frame++) expect(compress(deceptive, compressor).type).toBe("data");
    const skipped = () => {
      let frames = 0;
      while (compress(text, compressor).type === "data") frames += 1;
      return frames;
    };
    expect(skipped()).toBeGreaterThan(0);
    expect(skipped()).toBe(0);
  });
});

/** Whether anything but the original comes out; the header of zstd has bits that make no difference. */
function otherContent(payload: Buffer, type: ContentType, original: Buffer): boolean {
  if (reasonOf(payload, type) === "CORRUPT_STREAM") return false;
  return !decompressed(type, payload).equals(original);
}

describe("what is no compressed frame is CORRUPT_STREAM:", () => {
  const whole = compress(text).payload;

  test("any truncation", () => {
    for (let bytes = 0; bytes < whole.length; bytes++)
      expect(reasonOf(whole.subarray(0, bytes))).toBe("CORRUPT_STREAM");
  });

  test("noise, and nothing worse happens when bytes of a frame are changed", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1000 }), (noise) => {
        expect(reasonOf(Buffer.from(noise))).toBe("CORRUPT_STREAM");
      }),
    );
    fc.assert(
      fc.property(fc.nat({ max: whole.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const bytes = Buffer.from(whole);
        bytes[at] = (bytes[at] as number) ^ change;
        expect(otherContent(bytes, "compressedData", text)).toBe(false);
      }),
      { numRuns: 1000 },
    );
  });

  test("a packed frame that unpacks to anything but what was packed, or in another stream", () => {
    const packed = compress(halfNoise).payload;
    fc.assert(
      fc.property(fc.nat({ max: packed.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const bytes = Buffer.from(packed);
        bytes[at] = (bytes[at] as number) ^ change;
        expect(otherContent(bytes, "packedData", halfNoise)).toBe(false);
      }),
      { numRuns: 1000 },
    );
    expect(() => decompressed("packedData", packed, STREAM_ID + 1)).toThrow(DrayError);
  });

  const endless = Buffer.alloc(64 * 1024 * 1024);
  test.each([
    ["one byte too much", zstdCompressSync(Buffer.alloc(PACKING_BYTES + 1))],
    ["a bomb", zstdCompressSync(endless)],
    ["a bomb with a small window", zstdCompressSync(endless, { params: { [constants.ZSTD_c_windowLog]: 10 } })],
    ["a large window", zstdCompressSync(endless, { params: { [constants.ZSTD_c_windowLog]: 27 } })],
    ["bytes after the end", Buffer.concat([whole, Buffer.from("x")])],
    ["two in one", Buffer.concat([whole, whole])],
    ["an empty one", zstdCompressSync(Buffer.alloc(0))],
    ["one that is not packed", zstdCompressSync(Buffer.alloc(5000, 1))],
    ["a skippable one", Buffer.from("502a4d180400000001020304", "hex")],
  ])("%s", (_what, payload) => {
    expect(reasonOf(payload)).toBe("CORRUPT_STREAM");
  });

  test("a packed one that is compressed, and the other way round", () => {
    expect(reasonOf(whole, "packedData")).toBe("CORRUPT_STREAM");
    expect(reasonOf(compress(halfNoise).payload)).toBe("CORRUPT_STREAM");
  });
});
