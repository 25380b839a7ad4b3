import fc from "fast-check";
import { expect, test } from "vitest";
import { median } from "./statistics.ts";
import { bootstrapMedian, bootstrapPair } from "./bootstrap.ts";

test("the interval encloses the median and stays among the values", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 10_000 }), { minLength: 1, maxLength: 20 }), (values) => {
      const { value, low, high } = bootstrapMedian(values);
      expect(value).toBe(median(values));
      expect(low).toBeLessThanOrEqual(value);
      expect(high).toBeGreaterThanOrEqual(value);
      expect(low).toBeGreaterThanOrEqual(Math.min(...values));
      expect(high).toBeLessThanOrEqual(Math.max(...values));
    }),
    { numRuns: 25 },
  );
});

test("what disturbs both series alike does not widen their ratio", () => {
  const quiet = [100, 200, 300, 400, 500, 600, 700];
  const { value, low, high } = bootstrapPair(
    quiet.map((ms) => ms * 10),
    quiet,
    (one, other) => one / other,
  );
  expect([value, low, high].map((ratio) => Math.round(ratio * 1000) / 1000)).toEqual([10, 10, 10]);
});

test("the same values give the same interval", () => {
  const values = [5, 1, 9, 3, 7];
  expect(bootstrapMedian(values)).toEqual(bootstrapMedian(values));
});

test("refuses nothing, and series of different runs", () => {
  expect(() => bootstrapMedian([])).toThrow(RangeError);
  expect(() => bootstrapPair([1], [1, 2], (a) => a)).toThrow(RangeError);
});
