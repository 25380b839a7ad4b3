import { expect, test } from "vitest";
import { allSettled } from "./all-settled.ts";

test("gives the results of all", async () => {
  expect(await allSettled([Promise.resolve(1), Promise.resolve("two")], new AbortController())).toEqual([1, "two"]);
});

test("a failure ends the others, and is told only when they have ended", async () => {
  const ending = new AbortController();
  const order: string[] = [];
  const cleaningUp = new Promise<void>((_, reject) => {
    ending.signal.addEventListener("abort", () => {
      setImmediate(() => {
        order.push("cleaned up");
        reject(new Error("cancelled"));
      });
    });
  });
  await allSettled([Promise.reject(new Error("the cause")), cleaningUp], ending).catch((error: Error) => {
    order.push(error.message);
  });
  expect(order).toEqual(["cleaned up", "the cause"]);
});
