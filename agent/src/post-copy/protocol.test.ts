import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodePagesHead, encodeRanges, encodeSignal, type PageRange, ServerFrames } from "./protocol.ts";

const task = fc.integer({ min: 1, max: 2 ** 22 });
const address = fc.integer({ min: 0, max: 2 ** 40 }).map((page) => page * 4096);
const ranges = fc.array(fc.record({ start: address, pages: fc.integer({ min: 1, max: 2 ** 40 }) }));

/** The frame that the server would send: what the agent's encoder makes, under the server's type. */
function asServer(frame: Buffer, type: number): Buffer {
  const copy = Buffer.from(frame);
  copy.writeUInt32LE(type, 0);
  return copy;
}

const REMAINING = 65;
const DROPPED = 71;

function payloadFrame(type: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(type, 0);
  head.writeUInt32LE(payload.length, 4);
  return Buffer.concat([head, payload]);
}

describe("ranges", () => {
  test("come back as they were given, however the stream is cut", () => {
    fc.assert(
      fc.property(task, ranges, fc.integer({ min: 1, max: 64 }), (of, given, step) => {
        const stream = Buffer.concat(encodeRanges("ranges", of, given).map((frame) => asServer(frame, DROPPED)));
        const frames = new ServerFrames();
        const taken: PageRange[] = [];
        for (let at = 0; at < stream.length; at += step) {
          for (const message of frames.push(stream.subarray(at, at + step))) {
            if (message.type !== "dropped") throw new Error(message.type);
            expect(message.task).toBe(of);
            taken.push(...message.ranges);
          }
        }
        expect(taken).toEqual(given);
      }),
    );
  });

  test("many are split into frames that the server takes, none are one frame", () => {
    const many = Array.from({ length: 10_000 }, (_, index) => ({ start: index * 8192, pages: 1 }));
    const frames = encodeRanges("zeros", 7, many);
    expect(frames.map((frame) => (frame.readUInt32LE(4) - 8) / 16)).toEqual([4096, 4096, 1808]);
    const decoded = new ServerFrames().push(Buffer.concat(frames.map((frame) => asServer(frame, REMAINING))));
    expect(decoded.flatMap((message) => (message.type === "remaining" ? message.ranges : []))).toEqual(many);
    expect(encodeRanges("ranges", 7, [])).toHaveLength(1);
  });
});

test("pages have their number, their place and their length before them", () => {
  const head = encodePagesHead(9, 0x7fff_ffff_f000, 2 * 4096);
  expect([...new Uint32Array(head.buffer, head.byteOffset, 6)]).toEqual([3, 16 + 8192, 9, 2, 0xfffff000, 0x7fff]);
  expect(encodeSignal("listen")).toEqual(Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]));
});

test("what the server says is understood", () => {
  const state = Buffer.alloc(24);
  [1, 3, 0, 2, 1, 77].forEach((value, index) => void state.writeUInt32LE(value, index * 4));
  const zombie = Buffer.alloc(4);
  zombie.writeInt32LE(-5);
  const fault = Buffer.alloc(16);
  fault.writeUInt32LE(77, 0);
  fault.writeBigUInt64LE(0x7f00_1234_5000n, 8);
  const progress = Buffer.alloc(48);
  [10n, 4n, 1n, 900n, 1200n, 3n].forEach((value, index) => void progress.writeBigUInt64LE(value, index * 8));
  const stream = Buffer.concat([
    payloadFrame(64, state),
    payloadFrame(66, Buffer.alloc(0)),
    payloadFrame(67, zombie),
    payloadFrame(70, fault),
    payloadFrame(72, progress),
    payloadFrame(74, Buffer.from("no")),
    payloadFrame(75, Buffer.alloc(0)),
  ]);
  expect(new ServerFrames().push(stream)).toEqual([
    { type: "state", version: 1, listening: true, restored: true, failed: false, tasks: [1, 77] },
    { type: "stateEnd" },
    { type: "task", task: 5, zombie: true },
    { type: "fault", task: 77, address: 0x7f00_1234_5000 },
    {
      type: "progress",
      progress: { placedPages: 10, faults: 4, waiting: 1, longestWaitUs: 900, meanWaitUs: 400 },
    },
    { type: "refused", message: "no" },
    { type: "done" },
  ]);
});

test.each([
  ["of no known type", payloadFrame(1, Buffer.alloc(0))],
  ["too long", Buffer.from([64, 0, 0, 0, 255, 255, 255, 255])],
  ["with half a range", payloadFrame(REMAINING, Buffer.alloc(12))],
  ["with a state that says more tasks than it has", payloadFrame(64, Buffer.alloc(16, 1))],
  ["with a fault beyond 2^53", payloadFrame(70, Buffer.alloc(16, 0xff))],
])("a frame %s is an error", (_what, frame) => {
  expect(() => new ServerFrames().push(frame)).toThrow(expect.objectContaining({ reason: "CORRUPT_STREAM" }));
});

test("whatever comes, it is decoded or refused as corrupt", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        new ServerFrames().push(Buffer.from(bytes));
      } catch (error) {
        expect(error).toMatchObject({ reason: "CORRUPT_STREAM" });
      }
    }),
  );
});
