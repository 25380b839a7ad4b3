import { expect, test } from "vitest";
import { holdsSysResource } from "./capabilities.ts";
import { isForeign } from "./process-facts.ts";

const status = (capabilities: string, ids: string) =>
  `Name:\tsleep\nUid:\t${ids}\nGid:\t${ids}\nGroups:\t \nCapEff:\t${capabilities}\nCapBnd:\t000001ffffffffff\n`;

test("the capability to go beyond limits", () => {
  expect(holdsSysResource(status("000001ffffffffff", "0\t0\t0\t0"))).toBe(true);
  expect(holdsSysResource(status("000001fffeffffff", "0\t0\t0\t0"))).toBe(false);
  expect(holdsSysResource("")).toBe(false);
});

test("a process is another user's if any of its ids is", () => {
  expect(isForeign(status("0", "0\t0\t0\t0"))).toBe(false);
  expect(isForeign(status("0", "999\t999\t999\t999"))).toBe(true);
  expect(isForeign(status("0", "0\t0\t1000\t0"))).toBe(true);
});
