import { expect, test } from "vitest";
import { roundText } from "./round-progress.ts";

const STATE = { round: 2, sentBytes: 12_300_000, seenBytes: 500e6, memoryBytes: 1000e6, elapsedMs: 4000 };

test.each([
  ["in the middle", {}, "round 2, 12 MB sent at 3 MB/s, about 4 s left"],
  ["at its end", { seenBytes: 1000e6 }, "round 2, 12 MB sent at 3 MB/s"],
  ["with more than was expected", { seenBytes: 1001e6 }, "round 2, 12 MB sent at 3 MB/s"],
  ["shortly before its end", { seenBytes: 999e6 }, "round 2, 12 MB sent at 3 MB/s, about 1 s left"],
  ["at its beginning", { elapsedMs: 100, sentBytes: 450_000 }, "round 2, 0.5 MB sent"],
  ["of a memory that nobody knows the size of", { memoryBytes: 0 }, "round 2, 12 MB sent at 3 MB/s"],
])("a round %s", (_where, state, text) => {
  expect(roundText({ ...STATE, ...state })).toBe(text);
});
