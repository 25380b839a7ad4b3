import { expect, test } from "vitest";
import { Deferred } from "./deferred.ts";
import { Serial } from "./serial.ts";

test("begins each when the one before it has ended, in the order of the calls", async () => {
  const serial = new Serial();
  const first = new Deferred<string>();
  const begun: string[] = [];
  const task = (name: string, end: Promise<string>) => () => {
    begun.push(name);
    return end;
  };
  const one = serial.run(task("one", first.promise));
  const other = serial.run(task("other", Promise.resolve("second")));
  await Promise.resolve();
  expect(begun).toEqual(["one"]);
  first.resolve("first");
  expect(await Promise.all([one, other])).toEqual(["first", "second"]);
  expect(begun).toEqual(["one", "other"]);
});

test("a failure is its caller's alone", async () => {
  const serial = new Serial();
  const failed = serial.run(() => Promise.reject(new Error("no")));
  const next = serial.run(() => Promise.resolve("yes"));
  await expect(failed).rejects.toThrow("no");
  expect(await next).toBe("yes");
});
