import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type ImageId, PAGE_BYTES } from "../memory-image/page-range.ts";
import { DigestTable, REGION_BYTES } from "./digest-table.ts";

const TASK: ImageId = { kind: "task", id: 1 };
const BASE = 0x7f00_0000_0000;

function verdictsOf(table: DigestTable, round: number, vaddr: number, content: Buffer, image = TASK): number[] {
  const pages = content.length / PAGE_BYTES;
  const verdicts = Buffer.alloc(pages);
  const toSend = table.compare(image, round, vaddr, content, 0, pages, verdicts);
  expect(toSend).toBe(verdicts.filter((verdict) => verdict === 1).length);
  return [...verdicts];
}

test("a page is sent when it is new or differs, by whatever single bit", () => {
  const table = new DigestTable();
  const content = randomBytes(4 * PAGE_BYTES);
  expect(verdictsOf(table, 0, BASE, content)).toEqual([1, 1, 1, 1]);
  expect(verdictsOf(table, 1, BASE, content)).toEqual([0, 0, 0, 0]);
  let round = 2;
  fc.assert(
    fc.property(fc.nat(content.length * 8 - 1), (bit) => {
      content[bit >> 3] = (content[bit >> 3] as number) ^ (1 << (bit & 7));
      const expected = [0, 0, 0, 0];
      expected[Math.floor((bit >> 3) / PAGE_BYTES)] = 1;
      expect(verdictsOf(table, round++, BASE, content)).toEqual(expected);
    }),
    { numRuns: 100 },
  );
});

test("a page that the round before has not told of is sent again, the same as it may be", () => {
  const table = new DigestTable();
  const content = randomBytes(PAGE_BYTES);
  expect(verdictsOf(table, 0, BASE, content)).toEqual([1]);
  expect(verdictsOf(table, 2, BASE, content)).toEqual([1]);
  expect(verdictsOf(table, 3, BASE, content)).toEqual([0]);
});

test("images and regions are kept apart, and a page of zeros is one like any other", () => {
  const table = new DigestTable();
  const zeros = Buffer.alloc(PAGE_BYTES);
  expect(verdictsOf(table, 0, BASE, zeros)).toEqual([1]);
  expect(verdictsOf(table, 0, BASE + REGION_BYTES, zeros)).toEqual([1]);
  expect(verdictsOf(table, 1, BASE, zeros, { kind: "shared", id: 1 })).toEqual([1]);
  expect(verdictsOf(table, 1, BASE, zeros)).toEqual([0]);
});

test("pages that reach beyond their region are refused", () => {
  const table = new DigestTable();
  expect(() => verdictsOf(table, 0, BASE + REGION_BYTES - PAGE_BYTES, Buffer.alloc(2 * PAGE_BYTES))).toThrow(
    RangeError,
  );
});
