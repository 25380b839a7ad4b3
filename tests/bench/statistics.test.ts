import fc from "fast-check";
import { expect, test } from "vitest";
import { median, summarise } from "./statistics.ts";

test("median of odd and even counts", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(() => median([])).toThrow(RangeError);
});

// Ranks from the table of the binomial distribution with p = 1/2.
test.each([
  [5, 0],
  [6, 0],
  [9, 1],
  [15, 3],
  [20, 5],
  [100, 39],
])("of %i values the interval leaves out %i on each side", (count, left) => {
  const values = Array.from({ length: count }, (_, index) => index);
  expect(summarise(values)).toMatchObject({ count, low: left, high: count - 1 - left });
});

test("the interval always encloses the median", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ noNaN: true, min: -1e9, max: 1e9 }), { minLength: 1, maxLength: 60 }),
      (values) => {
        const { low, median: middle, high } = summarise(values);
        expect(low).toBeLessThanOrEqual(middle);
        expect(middle).toBeLessThanOrEqual(high);
      },
    ),
  );
});
