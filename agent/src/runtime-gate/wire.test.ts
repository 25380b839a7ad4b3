import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeAnswer, FrameReader, PROTOCOL, parseRequest } from "./wire.ts";

const ID = "0f".repeat(32);

function frame(fields: readonly string[]): Buffer {
  const body = Buffer.from(fields.map((field) => `${field}\0`).join(""));
  const head = Buffer.alloc(4);
  head.writeUInt32LE(body.length);
  return Buffer.concat([head, body]);
}

test("a frame cut anywhere is put together again", () => {
  const field = fc.string({ unit: "grapheme" }).map((text) => text.replaceAll("\0", ""));
  fc.assert(
    fc.property(fc.array(field, { minLength: 1 }), fc.array(fc.nat(200)), (fields, cuts) => {
      const whole = frame(fields);
      const reader = new FrameReader();
      const at = [0, ...cuts.map((cut) => cut % whole.length).toSorted((a, b) => a - b), whole.length];
      const seen = at.slice(1).map((end, index) => reader.push(whole.subarray(at[index], end)));
      expect(seen.at(-1)).toEqual(fields);
    }),
  );
});

test("an answer has the form that gate.c reads", () => {
  const reader = new FrameReader();
  expect(reader.push(encodeAnswer({ type: "run", argv: ["/usr/sbin/runc", "restore"] }))).toEqual([
    PROTOCOL,
    "run",
    "/usr/sbin/runc",
    "restore",
  ]);
  expect(new FrameReader().push(encodeAnswer({ type: "fail", message: "a\0b" }))).toEqual([PROTOCOL, "fail", "a b"]);
});

test("refuses empty, huge, unended and surplus frames", () => {
  expect(() => new FrameReader().push(Buffer.alloc(4))).toThrow("frame of 0 bytes");
  expect(() => new FrameReader().push(Buffer.alloc(4, 0xff))).toThrow("frame of 4294967295 bytes");
  expect(() => new FrameReader().push(Buffer.from([1, 0, 0, 0, 65]))).toThrow("without end");
  expect(() => new FrameReader().push(Buffer.concat([frame(["a"]), Buffer.from("x")]))).toThrow("more than one");
});

test("reads a request, and refuses everything else", () => {
  expect(parseRequest([PROTOCOL, "create", ID, "12-34", "--root", "/r"])).toEqual({
    verb: "create",
    dockerId: ID,
    claim: "12-34",
    args: ["--root", "/r"],
  });
  const broken = [
    [],
    ["drayage-runc/1", "create", ID, "1-2"],
    [PROTOCOL, "delete", ID, "1-2"],
    [PROTOCOL, "create", "../../etc/passwd", "1-2"],
    [PROTOCOL, "create", ID],
    [PROTOCOL, "create", ID, "1-2; rm"],
  ];
  for (const fields of broken) expect(() => parseRequest(fields)).toThrow("drayage-runc sent");
});
