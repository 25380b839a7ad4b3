import { expect, it } from "vitest";
import { isInit, namespacePids } from "./init-process.ts";

it("knows a node's init from its processes and from the inits of containers in it", () => {
  expect(namespacePids("Name:\tx\nNSpid:\t4711\t1\nNSpgid:\t1\n")).toEqual([4711, 1]);
  expect(isInit("NSpid:\t4711\t1\n", 1)).toBe(true);
  expect(isInit("NSpid:\t4712\t2\n", 1)).toBe(false);
  expect(isInit("NSpid:\t4713\t90\t1\n", 1)).toBe(false);
  expect(isInit("NSpid:\t1\n", 1)).toBe(false);
  expect(isInit("NSpid:\t4713\t90\t1\n", 2)).toBe(true);
});
