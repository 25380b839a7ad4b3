import { expect, test } from "vitest";
import { AheadLimit } from "./ahead-limit.ts";

/** The limit after a second at this rate, told in words of 128 pages. */
function settledAt(pagesPerMs: number): number {
  const limit = new AheadLimit();
  const everyMs = 128 / pagesPerMs;
  for (let now = 0; now < 3000; now += everyMs) limit.taken(128, now);
  return limit.pages;
}

test("follows the rate: twenty milliseconds of it", () => {
  expect(settledAt(100)).toBeGreaterThan(1900);
  expect(settledAt(100)).toBeLessThan(2100);
});

test("a slow line keeps a little under way, a fast one not everything", () => {
  expect(new AheadLimit().pages).toBe(256);
  expect(settledAt(1)).toBe(256);
  expect(settledAt(10_000)).toBe(4096);
});
