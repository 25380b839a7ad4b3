import { expect, test } from "vitest";
import { BufferPool } from "./buffer-pool.ts";

test("memory comes back once, and only what was given back is used again", () => {
  const pool = new BufferPool(1024);
  const first = pool.take(1000);
  const second = pool.take(1024);
  expect(first.length).toBe(1000);
  expect(second.buffer).not.toBe(first.buffer);
  pool.giveBack(first);
  pool.giveBack(first);
  expect(pool.take(600).buffer).toBe(first.buffer);
  expect(pool.take(600).buffer).not.toBe(first.buffer);
});

test("foreign and small buffers never enter the pool", () => {
  const pool = new BufferPool(1024);
  const foreign = Buffer.allocUnsafeSlow(1024);
  const small = pool.take(10);
  pool.giveBack(foreign);
  pool.giveBack(small);
  const taken = pool.take(1024);
  expect(taken.buffer).not.toBe(foreign.buffer);
  expect(taken.buffer).not.toBe(small.buffer);
  expect(pool.take(5000).length).toBe(5000);
});

test("adopted memory is used, and that of more than are kept is freed", () => {
  const pool = new BufferPool(1024);
  const adopted = Array.from({ length: 24 }, () => new ArrayBuffer(1024));
  for (const memory of adopted) pool.adopt(memory);
  expect(adopted.filter(({ detached }) => detached)).toHaveLength(8);
  expect(adopted).toContain(pool.take(1024).buffer);
});
