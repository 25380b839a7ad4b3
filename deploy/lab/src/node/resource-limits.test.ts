import { expect, it } from "vitest";
import { hasSysResource } from "./resource-limits.ts";

it("reads the bounding set", () => {
  expect(hasSysResource("CapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n")).toBe(true);
  expect(hasSysResource("CapEff:\t000001ffffffffff\nCapBnd:\t000001fffeffffff\n")).toBe(false);
  expect(hasSysResource("")).toBe(false);
});
