import { expect, test } from "vitest";
import { stackPointer } from "./aligned-stacks.ts";

test.each([
  ["7 0x7ffd2f0 0x1 0xffffffffffffffff 0x0 0x8 0x0 0x7ffc1d2e5510 0x44837f\n", 0x7ffc1d2e5510n],
  ["-1 0x7f0e1c5a6000 0x402fd0\n", 0x7f0e1c5a6000n],
  ["running\n", null],
  ["", null],
])("%j", (text, pointer) => {
  expect(stackPointer(text)).toBe(pointer);
});
