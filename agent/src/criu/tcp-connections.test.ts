import { expect, test } from "vitest";
import { pushVarint } from "../memory-image/varint.ts";
import { numbersOf, readFields, readRecords } from "./protobuf-fields.ts";
import { establishedSockets, expectedSequence } from "./tcp-connections.ts";

/** tcp-stream of a connection with one unread request, as CRIU 4.2.1 wrote it. */
const STREAM = Buffer.from(
  "19435654065546513b000000080b10b8a1e1e1031800" +
    "20e7a190fd052807300a38b40b400a48f0b0b19904600068ada1e1e10370" +
    "80f80378" +
    "80f8038001808004" +
    "8801b8a1e1e103494e43522068656c640d0a",
  "hex",
);

function varint(value: number): number[] {
  const bytes: number[] = [];
  pushVarint(bytes, value);
  return bytes;
}

function message(fields: readonly (readonly [number, number | readonly number[]])[]): number[] {
  return fields.flatMap(([number, value]) =>
    typeof value === "number"
      ? [...varint(number * 8), ...varint(value)]
      : [...varint(number * 8 + 2), ...varint(value.length), ...value],
  );
}

function image(records: readonly (readonly number[])[]): Buffer {
  const parts = records.flatMap((record) => {
    const head = Buffer.alloc(4);
    head.writeUInt32LE(record.length);
    return [head, Buffer.from(record)];
  });
  return Buffer.concat([Buffer.alloc(8), ...parts]);
}

const word = (address: string) => Buffer.from(address.split(".").map(Number)).readUInt32LE();

function socket(
  family: number,
  state: number,
  local: readonly number[],
  remote: readonly number[],
  protocol = 6,
): number[] {
  const addresses = [...local.map((w) => [11, w] as const), ...remote.map((w) => [12, w] as const)];
  const inet = message([
    [1, 9],
    [2, 0x1d16e4],
    [3, family],
    [4, 1],
    [5, protocol],
    [6, state],
    [7, 6379],
    [8, 40834],
    [9, 2],
    [10, 0],
    ...addresses,
  ]);
  return message([
    [1, 4],
    [2, 9],
    [4, inet],
  ]);
}

test("reads the number of the next byte that was expected", () => {
  expect(expectedSequence(STREAM)).toBe(1010323640);
});

test("gives established TCP connections, and nothing else", () => {
  const addresses = [[word("10.1.2.3")], [word("10.1.2.1")]] as const;
  const files = image([
    message([
      [1, 1],
      [2, 5],
      [3, [8, 1]],
    ]),
    socket(2, 1, ...addresses),
    socket(2, 10, ...addresses),
    socket(2, 1, ...addresses, 17),
  ]);
  expect(establishedSockets(files)).toEqual([
    { inode: 0x1d16e4, localAddress: "10.1.2.3", localPort: 6379, remoteAddress: "10.1.2.1", remotePort: 40834 },
  ]);
});

test("writes addresses of IPv6, and mapped ones as IPv4", () => {
  const six = [0xfd, 0, 0, 0x100007f].map((w, index) => (index === 3 ? 0x01000000 : w));
  const mapped = (address: string) => [0, 0, 0xffff0000, word(address)];
  const [plain, both] = establishedSockets(
    image([socket(10, 1, six, six), socket(10, 1, mapped("10.1.2.3"), mapped("10.1.2.1"))]),
  );
  expect(plain?.localAddress).toBe("fd00:0:0:0:0:0:0:1");
  expect(both).toMatchObject({ localAddress: "10.1.2.3", remoteAddress: "10.1.2.1" });
});

test("an image that is cut short is an error, wherever", () => {
  const files = image([socket(2, 1, [word("10.1.2.3")], [word("10.1.2.1")])]);
  for (let length = 9; length < files.length; length++) {
    expect(() => establishedSockets(files.subarray(0, length))).toThrow(/cannot be read/);
  }
});

test("a repeated field may be packed", () => {
  const packed = Uint8Array.from(
    message([
      [11, [1, 0x80, 1]],
      [11, 5],
    ]),
  );
  expect(numbersOf(readFields(packed), 11)).toEqual([1, 128, 5]);
  const cut = Uint8Array.from(message([[11, [1, 0x80]]]));
  expect(() => numbersOf(readFields(cut), 11)).toThrow(/cannot be read/);
  expect(readRecords(image([[1], [2, 3]]))).toHaveLength(2);
});
