import { expect, test } from "vitest";
import { memoryLimitBytes } from "./memory-limit.ts";

test.each([
  ["of memory", { Memory: 100 }, 100],
  ["of memory and swap", { Memory: 100, MemorySwap: 200 }, 200],
  ["of memory, with as much swap as there is", { Memory: 100, MemorySwap: -1 }, null],
  ["of nothing", { Memory: 0, MemorySwap: 0 }, null],
])("a limit %s", (_what, HostConfig, expected) => {
  expect(memoryLimitBytes(JSON.stringify({ HostConfig }))).toBe(expected);
});

test("what Docker does not say is no limit", () => {
  expect(memoryLimitBytes("")).toBeNull();
  expect(memoryLimitBytes("{}")).toBeNull();
});
