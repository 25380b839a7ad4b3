import fc from "fast-check";
import { expect, test } from "vitest";
import { pushVarint, VarintReader } from "./varint.ts";

function written(...values: number[]): Uint8Array {
  const bytes: number[] = [];
  for (const value of values) pushVarint(bytes, value);
  return Uint8Array.from(bytes);
}

test.each<[number, number[]]>([
  [0, [0]],
  [127, [0x7f]],
  [128, [0x80, 1]],
  [300, [0xac, 2]],
  [2 ** 32, [0x80, 0x80, 0x80, 0x80, 0x10]],
  [Number.MAX_SAFE_INTEGER, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]],
])("%d is laid out as by protobuf", (value, bytes) => {
  expect([...written(value)]).toEqual(bytes);
  expect(new VarintReader(Uint8Array.from(bytes)).next()).toBe(value);
});

test("numbers come back as they were, one after the other, from where they are", () => {
  fc.assert(
    fc.property(fc.array(fc.maxSafeNat()), fc.uint8Array(), fc.uint8Array(), (values, before, after) => {
      const numbers = written(...values);
      const end = before.length + numbers.length;
      const reader = new VarintReader(Uint8Array.of(...before, ...numbers, ...after), before.length, end);
      for (const value of values) {
        expect(reader.next()).toBe(value);
        expect(reader.low).toBe(value % 2 ** 14);
      }
      expect(reader.isAtEnd).toBe(true);
      expect(reader.next()).toBeNull();
    }),
  );
});

test("of 64 bits: a multiple of a page is exact, another is rounded, and its lowest bits are known", () => {
  // 2^64 - 4096, and 2^64 - 1, as which protobuf writes -1.
  const page = [0x80, 0xe0, ...Array.from({ length: 7 }, () => 0xff), 1];
  const minusOne = [...Array.from({ length: 9 }, () => 0xff), 1];
  const reader = new VarintReader(Uint8Array.from([...page, ...minusOne]));
  expect([reader.next(), reader.low]).toEqual([2 ** 64 - 4096, 2 ** 14 - 4096]);
  expect([reader.next(), reader.low]).toEqual([2 ** 64, 2 ** 14 - 1]);
});

test.each<[string, number[]]>([
  ["nothing", []],
  ["cut short", [0x80]],
  ["cut short after many", Array.from({ length: 9 }, () => 0x80)],
  ["of more than ten bytes", [...Array.from({ length: 10 }, () => 0x80), 0]],
])("%s is none", (_what, bytes) => {
  expect(new VarintReader(Uint8Array.from(bytes)).next()).toBeNull();
});

test("what is behind the end is not looked at", () => {
  expect(new VarintReader(Uint8Array.of(0x80, 1), 0, 1).next()).toBeNull();
});
