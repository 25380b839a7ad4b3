import { expect, test } from "vitest";
import { connectionCount } from "./page-lanes.ts";

test("without a number half the cores are taken, where there are four, and never more than four connections", () => {
  const counts = [1, 2, 3, 4, 5, 6, 8, 64].map((cores) => connectionCount("auto", cores));
  expect(counts).toEqual([1, 1, 1, 2, 2, 3, 4, 4]);
});

test("a number that is given counts, whatever the host has", () => {
  expect(connectionCount(1, 64)).toBe(1);
  expect(connectionCount(8, 1)).toBe(8);
});
