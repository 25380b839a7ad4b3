import { expect, test } from "vitest";
import { Deferred } from "./deferred.ts";

test("is settled once, from outside", async () => {
  const deferred = new Deferred<number>();
  deferred.resolve(1);
  deferred.reject(new Error("late"));
  expect(await deferred.promise).toBe(1);
});

test("a rejection that nobody waits for is no accident", async () => {
  const accidents: unknown[] = [];
  const note = (reason: unknown) => accidents.push(reason);
  process.on("unhandledRejection", note);
  const deferred = new Deferred<number>();
  deferred.reject(new Error("nobody looks"));
  // An unhandled one would be told after the microtasks of this turn.
  await new Promise(setImmediate);
  process.off("unhandledRejection", note);
  expect(accidents).toEqual([]);
  await expect(deferred.promise).rejects.toThrow("nobody looks");
});
