import fc from "fast-check";
import { expect, test } from "vitest";
import { endOf, LAZY, PAGE_BYTES, type PageRange, PRESENT } from "../memory-image/page-range.ts";
import { NotedRanges } from "./noted-ranges.ts";

const pages = (min: number) => fc.oneof(fc.integer({ min, max: 300 }), fc.integer({ min, max: 2 ** 28 }));
const runs = fc.array(
  fc.record({
    gap: pages(0),
    pages: pages(1),
    flags: fc.constantFrom(0, LAZY, PRESENT, LAZY | PRESENT),
  }),
  { maxLength: 64 },
);

test("what was noted is given, in its order", () => {
  fc.assert(
    fc.property(runs, (all) => {
      const noted = new NotedRanges();
      const expected: PageRange[] = [];
      let vaddr = 0;
      for (const { gap, pages, flags } of all) {
        vaddr += gap * PAGE_BYTES;
        const range = { vaddr, pages, flags };
        noted.push(range);
        expected.push({ ...range, flags: flags & LAZY });
        vaddr = endOf(range);
      }
      expect([...noted.take()]).toEqual(expected);
      expect([...noted.take()]).toEqual([]);
    }),
  );
});

test("as far as addresses reach, and over as many blocks as it takes", () => {
  const noted = new NotedRanges();
  const first = { vaddr: 2 ** 47 - 2 ** 30 - PAGE_BYTES, pages: 2 ** 18, flags: LAZY };
  noted.push(first);
  const many = Array.from({ length: 200_000 }, (_, index) => ({
    vaddr: endOf(first) + index * 2 * PAGE_BYTES,
    pages: 1,
    flags: index % 3 === 0 ? LAZY : 0,
  }));
  for (const range of many) noted.push(range);
  expect([...noted.take()]).toEqual([first, ...many]);
});
