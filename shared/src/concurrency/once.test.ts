import { expect, test } from "vitest";
import { Once } from "./once.ts";

test("does once what two ask for, and never again once it has worked", async () => {
  const once = new Once<number>();
  let attempts = 0;
  const body = async () => ++attempts;
  expect(await Promise.all([once.run(body), once.run(body)])).toEqual([1, 1]);
  expect(await once.run(body)).toBe(1);
});

test("a failure is told to all who waited, and the next may try again", async () => {
  const once = new Once<string>();
  const fail = () => Promise.reject(new Error("not yet"));
  const waiting = [once.run(fail), once.run(() => Promise.resolve("never begun"))];
  for (const each of waiting) await expect(each).rejects.toThrow("not yet");
  expect(await once.run(() => Promise.resolve("done"))).toBe("done");
});
