import { randomBytes } from "node:crypto";
import { constants, crc32, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DrayError } from "../errors/dray-error.ts";
import { type ContentType, decompress, FrameCompressor, PACKING_BYTES } from "./compression.ts";
import { contentSeed, DATA_BYTES } from "./frame.ts";
import type { SendingCost } from "./sending-cost.ts";
import { toughContent } from "./testing/tough-content.ts";

/** Repeats itself, and has no page of one byte. */
const text = Buffer.from("a page of words, ".repeat(DATA_BYTES / 16)).subarray(0, DATA_BYTES);
const STREAM_ID = 7;
const halfNoise = Buffer.concat([randomBytes(DATA_BYTES / 2), Buffer.alloc(DATA_BYTES / 2, "x")]);

interface Made {
  readonly type: ContentType;
  readonly payload: Buffer;
  readonly crc: number;
}

function compress(content: Buffer, compressor = new FrameCompressor(), cost?: SendingCost): Made {
  const space = Buffer.alloc(PACKING_BYTES);
  content.copy(space);
  const { type, bytes, crc } = compressor.compress(space, { bytes: content.length, streamId: STREAM_ID, cost });
  return { type, payload: space.subarray(0, bytes), crc };
}

function decompressed({ type, payload, crc }: Made, streamId = STREAM_ID): Buffer {
  return decompress({ type, streamId, payload, crc }, Buffer.alloc, () => undefined);
}

function reasonOf(made: Made): string {
  try {
    decompressed(made);
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
        const made = compress(content);
        expect(made.payload.length).toBeLessThanOrEqual(content.length);
        expect(decompressed(made).equals(content)).toBe(true);
        if (made.type === "data") expect(made.crc).toBe(crc32(content, contentSeed(STREAM_ID, content.length)));
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

describe("whether a frame is compressed is a matter of the link:", () => {
  const tough = toughContent(DATA_BYTES);
  /** Attempts seem to take half a millisecond each, so a byte that of DATA_BYTES. */
  const clock = () => {
    let nowMs = 0;
    return () => {
      nowMs += 0.5;
      return nowMs;
    };
  };
  const attemptMs = 0.5 / DATA_BYTES;
  const cost = (processor: number, wait: number) => ({ processorMs: processor * attemptMs, waitMs: wait * attemptMs });

  test.each([
    ["a link as fast as the processors", tough, cost(0.5, 0), "data"],
    ["a link that one waits for eight times as long as for an attempt", tough, cost(0.5, 8), "data"],
    ["a link that one waits for twelve times as long as for an attempt", tough, cost(0.5, 12), "compressedData"],
    ["content that is nearly all saved, on a fast link", text, cost(0.7, 0), "compressedData"],
    ["content that is nearly all saved, on a faster one", text, cost(0.6, 0), "data"],
  ])("%s", (_what, content, link, type) => {
    expect(compress(content, new FrameCompressor(clock()), link).type).toBe(type);
  });

  test("content of which little can be saved, wherever it lies", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1023 }), (from) => {
        const content = Buffer.from(tough.subarray(from));
        expect(compress(content, new FrameCompressor(clock()), cost(0.5, 100)).type).toBe("compressedData");
      }),
    );
  });

  test("attempts that did not pay become rare, and are many again when the link is slow", () => {
    const compressor = new FrameCompressor(clock());
    const compressedOf = (frames: number, link: SendingCost) =>
      Array.from({ length: frames }, () => compress(tough, compressor, link).type).filter((type) => type !== "data")
        .length;
    expect(compressedOf(200, cost(0.5, 0))).toBe(0);
    expect(compressedOf(200, cost(0.5, 100))).toBeGreaterThanOrEqual(200 - 64);
  });

  test("an attempt that was interrupted is not held against the next", () => {
    const takesMs = [0.5, 0.5, 0.5, 1, 0.5];
    let nowMs = 0;
    let calls = 0;
    const compressor = new FrameCompressor(() => {
      calls += 1;
      if (calls % 2 === 0) nowMs += takesMs[calls / 2 - 1] ?? 0;
      return nowMs;
    });
    const types = takesMs.map(() => compress(text, compressor, cost(0.8, 0)).type);
    expect(types).toEqual(takesMs.map(() => "compressedData"));
  });
});

/** Whether anything but the original comes out; the header of zstd has bits that make no difference. */
function isOtherContent(made: Made, original: Buffer): boolean {
  return reasonOf(made) !== "CORRUPT_STREAM" && !decompressed(made).equals(original);
}

describe("what is no compressed frame is CORRUPT_STREAM:", () => {
  const whole = compress(text);
  const packed = compress(halfNoise);

  test("any truncation", () => {
    for (let bytes = 0; bytes < whole.payload.length; bytes++)
      expect(reasonOf({ ...whole, payload: whole.payload.subarray(0, bytes) })).toBe("CORRUPT_STREAM");
  });

  test("noise, and nothing worse happens when bytes of a frame are changed", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1000 }), (noise) => {
        expect(reasonOf({ ...whole, payload: Buffer.from(noise) })).toBe("CORRUPT_STREAM");
      }),
    );
    fc.assert(
      fc.property(fc.nat({ max: whole.payload.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const payload = Buffer.from(whole.payload);
        payload[at] = (payload[at] as number) ^ change;
        expect(isOtherContent({ ...whole, payload }, text)).toBe(false);
      }),
      { numRuns: 1000 },
    );
  });

  test("a packed frame that unpacks to anything but what was packed, or in another stream", () => {
    fc.assert(
      fc.property(fc.nat({ max: packed.payload.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const payload = Buffer.from(packed.payload);
        payload[at] = (payload[at] as number) ^ change;
        expect(reasonOf({ ...packed, payload })).toBe("CORRUPT_STREAM");
      }),
      { numRuns: 1000 },
    );
    expect(() => decompressed(packed, STREAM_ID + 1)).toThrow(DrayError);
    expect(() => decompressed(whole, STREAM_ID + 1)).toThrow(DrayError);
  });

  test.each([
    ["packed", packed],
    ["compressed", whole],
  ])("a %s one with another checksum", (_what, made) => {
    expect(reasonOf({ ...made, crc: made.crc ^ 1 })).toBe("CORRUPT_STREAM");
  });

  const endless = Buffer.alloc(64 * 1024 * 1024);
  test.each([
    ["one byte too much", zstdCompressSync(Buffer.alloc(PACKING_BYTES + 1))],
    ["a bomb", zstdCompressSync(endless)],
    ["a bomb with a small window", zstdCompressSync(endless, { params: { [constants.ZSTD_c_windowLog]: 10 } })],
    ["a large window", zstdCompressSync(endless, { params: { [constants.ZSTD_c_windowLog]: 27 } })],
    ["bytes after the end", Buffer.concat([whole.payload, Buffer.from("x")])],
    ["two in one", Buffer.concat([whole.payload, whole.payload])],
    ["an empty one", zstdCompressSync(Buffer.alloc(0))],
    ["one that is not packed", zstdCompressSync(Buffer.alloc(5000, 1))],
    ["a skippable one", Buffer.from("502a4d180400000001020304", "hex")],
  ])("%s", (_what, payload) => {
    expect(reasonOf({ ...whole, payload })).toBe("CORRUPT_STREAM");
  });

  test("a packed one that is compressed, and the other way round", () => {
    expect(reasonOf({ ...whole, type: "packedData" })).toBe("CORRUPT_STREAM");
    expect(reasonOf({ ...packed, type: "compressedData" })).toBe("CORRUPT_STREAM");
  });
});
