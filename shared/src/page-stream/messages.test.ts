import fc from "fast-check";
import { expect, test } from "vitest";
import { DrayError } from "../errors/dray-error.ts";
import { type Frame, FrameDecoder } from "./frame.ts";
import {
  chooseVersion,
  decodeMessage,
  encodeMessage,
  errorOf,
  failureOf,
  type MessageType,
  PROTOCOL_VERSIONS,
} from "./messages.ts";

function frameOf(bytes: Buffer): Frame {
  const frames: Frame[] = [];
  new FrameDecoder().push(bytes, (frame) => frames.push(frame));
  return frames[0] as Frame;
}

const types = [
  "hello",
  "welcome",
  "refusal",
  "openFile",
  "closeFile",
  "delivered",
  "error",
  "credit",
  "laneHello",
] as const;

test("an opening comes back with all that was in it", () => {
  // Keys called __proto__ are dropped on arrival.
  const value = fc.jsonValue().map((some) => JSON.parse(JSON.stringify(some).replaceAll("__proto__", "proto")));
  const metadata = fc.dictionary(
    fc.string().filter((key) => key !== "__proto__"),
    value,
  );
  fc.assert(
    fc.property(
      fc.string({ minLength: 1, unit: "grapheme" }),
      metadata,
      fc.option(fc.nat(), { nil: undefined }),
      (name, extra, size) => {
        const sent = { kind: "layer", name, metadata: extra, ...(size === undefined ? {} : { sizeBytes: size }) };
        expect(decodeMessage("openFile", frameOf(encodeMessage("openFile", 3, sent)))).toEqual(sent);
      },
    ),
  );
});

test("anything that is not the message is CORRUPT_STREAM", () => {
  const junk = fc.oneof(fc.json(), fc.string(), fc.string({ unit: "binary" }));
  fc.assert(
    fc.property(fc.constantFrom(...types), junk, (type: MessageType, text) => {
      const frame: Frame = { type, streamId: 1, payload: Buffer.from(text), crc: 0 };
      try {
        decodeMessage(type, frame);
      } catch (error) {
        expect(error).toBeInstanceOf(DrayError);
        expect((error as DrayError).reason).toBe("CORRUPT_STREAM");
      }
    }),
    { numRuns: 60 },
  );
});

test("a message of another type is named", () => {
  const frame = frameOf(encodeMessage("credit", 1, { bytes: 5 }));
  expect(() => decodeMessage("welcome", frame)).toThrow("credit where welcome must come");
});

test("metadata beyond the limit is refused before it is sent", () => {
  const metadata = { text: "x".repeat(600_000) };
  expect(() => encodeMessage("openFile", 1, { kind: "k", name: "n", metadata })).toThrow("limit 524288");
});

test("an error keeps reason, message, remedy and node across the wire", () => {
  const sent = new DrayError("NO_SPACE", "disk full", { remedy: "delete something", node: "n2" });
  const { reason, message, remedy, node } = errorOf(
    decodeMessage("error", frameOf(encodeMessage("error", 1, failureOf(sent)))),
  );
  expect({ reason, message, remedy, node }).toEqual({
    reason: "NO_SPACE",
    message: "disk full",
    remedy: "delete something",
    node: "n2",
  });
});

test("versions: the highest common one, or none", () => {
  const ours = Math.max(...PROTOCOL_VERSIONS);
  expect(chooseVersion([ours + 1, ours, ours - 1, 0])).toBe(ours);
  expect(chooseVersion([0, ours + 1])).toBeUndefined();
});
