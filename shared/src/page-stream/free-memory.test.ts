import { expect, test } from "vitest";
import { freeMemory } from "./free-memory.ts";

test("all that shares the memory is empty then, and once more does no harm", () => {
  const whole = Buffer.allocUnsafeSlow(16_384);
  const part = whole.subarray(10, 20);
  freeMemory(part);
  expect(whole.length).toBe(0);
  expect(part.length).toBe(0);
  freeMemory(whole);
});

test("Node's shared pool is left alone", () => {
  const neighbour = Buffer.from("neighbour");
  freeMemory(Buffer.from("small"));
  expect(neighbour.toString()).toBe("neighbour");
});
