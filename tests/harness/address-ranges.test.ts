import { expect, test } from "vitest";
import { parseNetwork } from "../../deploy/lab/src/address/cidr.ts";
import { planAddresses } from "../../deploy/lab/src/address/plan.ts";
import { addressIndex, ALL_NEEDED, SUITES } from "./address-ranges.ts";

test("suites follow one another, and none takes of the next", () => {
  expect(SUITES.length).toBeGreaterThan(2);
  for (const [position, suite] of SUITES.entries()) {
    const next = SUITES[position + 1];
    const end = next === undefined ? ALL_NEEDED : addressIndex(next, 0);
    expect(addressIndex(suite, end - addressIndex(suite, 0) - 1)).toBe(end - 1);
    expect(() => addressIndex(suite, end - addressIndex(suite, 0))).toThrow(`the suite ${suite} has`);
  }
});

test("a lab has as many addresses as all suites need", () => {
  const { first, last } = planAddresses("abcdef", "10.70.1.0/24", 3).freeAddresses;
  const number = (address: string) => parseNetwork(`${address}/32`)?.address ?? Number.NaN;
  expect(number(last) - number(first) + 1).toBeGreaterThanOrEqual(ALL_NEEDED);
});
