import { expect, test } from "vitest";
import { parseDumpStats } from "./dump-stats.ts";

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))];
}

function image(dump: Readonly<Record<number, number>>): Uint8Array {
  const fields = Object.entries(dump).flatMap(([field, value]) => [...varint(Number(field) * 8), ...varint(value)]);
  const message = [0x0a, ...varint(fields.length), ...fields];
  const head = Buffer.alloc(12);
  head.writeUInt32LE(0x55105940, 0);
  head.writeUInt32LE(0x57093306, 4);
  head.writeUInt32LE(message.length, 8);
  return Buffer.concat([head, Buffer.from(message)]);
}

test("reads the fields of a dump", () => {
  const stats = parseDumpStats(
    image({ 1: 120, 2: 98_765, 3: 40_000, 4: 30_000, 5: 29_150, 6: 27_979, 7: 1062, 8: 0, 9: 5 }),
  );
  expect(stats).toEqual({
    freezingUs: 120,
    frozenUs: 98_765,
    memdumpUs: 40_000,
    memwriteUs: 30_000,
    pagesScanned: 29_150,
    pagesSkippedParent: 27_979,
    pagesWritten: 1062,
    pagesLazy: 5,
  });
});

test("numbers beyond 32 bits", () => {
  expect(parseDumpStats(image({ 5: 2 ** 40 })).pagesScanned).toBe(2 ** 40);
});

test("refuses what is none, or cut short", () => {
  const whole = image({ 2: 1 });
  for (let length = 0; length < whole.length; length++) {
    expect(() => parseDumpStats(whole.subarray(0, length))).toThrow("statistics");
  }
  const other = Buffer.from(whole);
  other[4] = 0;
  expect(() => parseDumpStats(other)).toThrow("no stats image");
});
