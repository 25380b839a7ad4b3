import { expect, test } from "vitest";
import { moreThanItsLimit } from "./memory-limit.ts";

const MEBIBYTE = 2 ** 20;
const described = (limitBytes: number, memoryBytes: number) => ({
  inspectJson: JSON.stringify({ HostConfig: { Memory: limitBytes } }),
  memoryBytes,
});

test("processes that would need more than the container may have, each with its own of what they share", () => {
  expect(moreThanItsLimit(described(100 * MEBIBYTE, 300 * MEBIBYTE))).toBe(
    "each of its processes would have for itself what they share: 300 MiB in all, with a limit of 100 MiB",
  );
});

test.each([
  ["within its limit", described(100 * MEBIBYTE, 100 * MEBIBYTE)],
  ["without a limit", described(0, 300 * MEBIBYTE)],
])("nothing stands against one %s", (_what, description) => {
  expect(moreThanItsLimit(description)).toBe("");
});
