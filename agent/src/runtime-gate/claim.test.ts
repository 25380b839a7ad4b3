import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { claimantEnds, claimantLives, startTimeOf } from "./claim.ts";

test("finds the start time behind any name", () => {
  const fields = "S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 8192 1";
  expect(startTimeOf(`12 (a b) c) ${fields}`)).toBe("4711");
});

test("knows whether the claimant lives", async () => {
  const startTime = startTimeOf(await readFile("/proc/self/stat", "utf8"));
  expect(await claimantLives(`${process.pid}-${startTime}`)).toBe(true);
  expect(await claimantLives(`${process.pid}-1`)).toBe(false);
  expect(await claimantEnds(`${process.pid}-${startTime}`, 0)).toBe(false);
  expect(await claimantEnds(`${process.pid}-1`, 0)).toBe(true);
});
