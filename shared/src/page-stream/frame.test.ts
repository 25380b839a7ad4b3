import { crc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DrayError } from "../errors/dray-error.ts";
import { decompress } from "./compression.ts";
import {
  chainDigest,
  contentSeed,
  encodeFrame,
  FRAME_TYPES,
  type Frame,
  FrameDecoder,
  type FrameType,
  HEADER_BYTES,
  PAYLOAD_LIMIT_BYTES,
  sealFrame,
} from "./frame.ts";

const frameArbitrary = fc.record({
  type: fc.constantFrom(...(Object.keys(FRAME_TYPES) as FrameType[])),
  streamId: fc.integer({ min: 0, max: 0xffffffff }),
  payload: fc.uint8Array({ maxLength: 200 }),
});

function decode(chunks: Iterable<Buffer>): Frame[] {
  const frames: Frame[] = [];
  const decoder = new FrameDecoder();
  for (const chunk of chunks) decoder.push(chunk, (frame) => frames.push(frame));
  decoder.finish();
  return frames;
}

/** As a receiver does: what is packed is vouched for by what comes out of it. */
function receive(bytes: Buffer): void {
  for (const { type, ...frame } of decode([bytes])) {
    if (type === "packedData" || type === "compressedData")
      decompress({ type, ...frame }, Buffer.alloc, () => undefined);
  }
}

/** Cuts at the given places, which may lie anywhere, repeat, and come in any order. */
function cut(bytes: Buffer, places: number[]): Buffer[] {
  const sorted = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b);
  return [...sorted, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : sorted[index - 1], end));
}

function reasonOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return error instanceof DrayError ? `${error.reason}: ${error.message}` : `not ours: ${error}`;
  }
  return "accepted";
}

describe("frames", () => {
  test("come back whole under any chunking", () => {
    fc.assert(
      fc.property(fc.array(frameArbitrary, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 40 }), (sent, places) => {
        const bytes = Buffer.concat(sent.map(({ type, streamId, payload }) => encodeFrame(type, streamId, payload)));
        const received = decode(cut(bytes, places));
        expect(received.map(({ type, streamId, payload }) => ({ type, streamId, payload: [...payload] }))).toEqual(
          sent.map(({ type, streamId, payload }) => ({ type, streamId, payload: [...payload] })),
        );
      }),
    );
  });

  test("one flipped bit anywhere is noticed", () => {
    fc.assert(
      fc.property(frameArbitrary, fc.nat(), fc.integer({ min: 0, max: 7 }), (sent, place, bit) => {
        const bytes = encodeFrame(sent.type, sent.streamId, sent.payload);
        const at = place % bytes.length;
        bytes[at] = (bytes[at] as number) ^ (1 << bit);
        expect(reasonOf(() => receive(bytes))).toMatch(/^CORRUPT_STREAM: /);
      }),
      { numRuns: 2000 },
    );
  });

  test("every single byte of a frame, replaced by every other value, is noticed", () => {
    const whole = encodeFrame("data", 7, Buffer.from("some pages"));
    for (let at = 0; at < whole.length; at++) {
      for (let value = 0; value < 256; value++) {
        if (value === whole[at]) continue;
        const bytes = Buffer.from(whole);
        bytes[at] = value;
        expect(reasonOf(() => receive(bytes))).toMatch(/^CORRUPT_STREAM: /);
      }
    }
  });

  test("any truncation is noticed", () => {
    fc.assert(
      fc.property(frameArbitrary, fc.nat(), (sent, place) => {
        const bytes = encodeFrame(sent.type, sent.streamId, sent.payload);
        const keep = 1 + (place % (bytes.length - 1));
        expect(reasonOf(() => decode([bytes.subarray(0, keep)]))).toMatch(/^CORRUPT_STREAM: .*ends within/);
      }),
    );
  });

  test("random bytes never crash the decoder and never make it allocate more than one payload", () => {
    const garbage = fc.tuple(fc.boolean(), fc.uint8Array({ maxLength: 4000 }));
    fc.assert(
      fc.property(garbage, fc.array(fc.nat(), { maxLength: 10 }), ([plausible, noise], places) => {
        const bytes = Buffer.from(noise);
        // Half the runs get past magic, version and type, to reach the length.
        if (plausible && bytes.length >= 4) bytes.set([0x44, 0x50, 1, FRAME_TYPES.data]);
        expect(reasonOf(() => decode(cut(bytes, places)))).toMatch(/^CORRUPT_STREAM: |^accepted$/);
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    [0, 0x00, "bad magic 0x50"],
    [2, 9, "unknown frame version 9"],
    [3, 200, "unknown frame type 200"],
    [8, 0x7f, `limit ${PAYLOAD_LIMIT_BYTES}`],
    [12, 0, "checksum of a ping frame is wrong"],
  ])("byte %i = %i: says %s", (at, value, message) => {
    const bytes = encodeFrame("ping", 0, Buffer.from("x"));
    bytes[12] = 0xff & ~(bytes[12] as number);
    if (at !== 12) bytes[at] = value;
    expect(reasonOf(() => decode([bytes]))).toContain(message);
  });

  test("a decoder that failed once stays shut", () => {
    const decoder = new FrameDecoder();
    expect(reasonOf(() => decoder.push(Buffer.alloc(64), () => undefined))).toContain("bad magic");
    expect(reasonOf(() => decoder.push(encodeFrame("ping", 0, Buffer.alloc(0)), () => undefined))).toContain(
      "bad magic",
    );
    expect(reasonOf(() => decoder.finish())).toContain("bad magic");
  });

  test("the largest payload passes, one byte more is refused on both sides", () => {
    const frame = Buffer.alloc(HEADER_BYTES + PAYLOAD_LIMIT_BYTES + 1, 0xa5);
    expect(() => sealFrame(frame, "data", 1, PAYLOAD_LIMIT_BYTES + 1)).toThrow(RangeError);
    sealFrame(frame, "data", 1, PAYLOAD_LIMIT_BYTES);
    const [received] = decode([frame.subarray(0, HEADER_BYTES + PAYLOAD_LIMIT_BYTES)]);
    expect(received?.payload.length).toBe(PAYLOAD_LIMIT_BYTES);
    frame.writeUInt32BE(PAYLOAD_LIMIT_BYTES + 1, 8);
    expect(reasonOf(() => decode([frame]))).toContain("limit");
  });

  test("the checksum of content is that of its data frame, and of no other stream's", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 0xffffffff }), (bytes, streamId) => {
        const content = Buffer.from(bytes);
        const [frame] = decode([encodeFrame("data", streamId, content)]);
        expect(crc32(content, contentSeed(streamId, content.length))).toBe(frame?.crc);
        expect(crc32(content, contentSeed(streamId - 1, content.length))).not.toBe(frame?.crc);
      }),
    );
  });

  test("the chain notices a missing, doubled or swapped frame", () => {
    const chain = (crcs: number[]) => crcs.reduce(chainDigest, 0);
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 0xffffffff }), { minLength: 2, maxLength: 9 }), (crcs) => {
        const [first, second, ...rest] = crcs as [number, number, ...number[]];
        expect(chain([second, ...rest])).not.toBe(chain(crcs));
        expect(chain([first, first, second, ...rest])).not.toBe(chain(crcs));
        expect(chain([second, first, ...rest])).not.toBe(chain(crcs));
      }),
    );
  });
});
