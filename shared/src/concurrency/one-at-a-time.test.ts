import { expect, test } from "vitest";
import { Deferred } from "./deferred.ts";
import { OneAtATime } from "./one-at-a-time.ts";

test("those who ask meanwhile get the same end", async () => {
  const joined = new OneAtATime<number>();
  const work = new Deferred<number>();
  const begun: string[] = [];
  const one = joined.run(() => {
    begun.push("one");
    return work.promise;
  });
  const other = joined.run(() => {
    begun.push("other");
    return Promise.resolve(2);
  });
  work.resolve(1);
  expect(await Promise.all([one, other])).toEqual([1, 1]);
  expect(begun).toEqual(["one"]);
});

test("after an end, also a bad one, it begins anew", async () => {
  const joined = new OneAtATime<number>();
  await expect(joined.run(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await joined.run(() => Promise.resolve(2))).toBe(2);
});
