import { expect, test } from "vitest";
import { freeMemory } from "./free-memory.ts";

test("a buffer that is all of its memory is freed, with everything that shares it", () => {
  const buffer = Buffer.allocUnsafeSlow(16_384);
  const part = buffer.subarray(10, 20);
  freeMemory(buffer);
  expect(buffer.length).toBe(0);
  expect(part.length).toBe(0);
});

test("a part of something larger is left alone", () => {
  const whole = Buffer.alloc(100, 1);
  const pooled = Buffer.from("from Node's pool");
  freeMemory(whole.subarray(0, 99));
  freeMemory(pooled);
  expect(whole[50]).toBe(1);
  expect(pooled.toString()).toBe("from Node's pool");
});
