import { expect, it } from "vitest";
import { Overdue } from "./overdue.ts";

it("tells once of each limit that passes while a connection is being made", () => {
  let nowMs = 0;
  const overdue = new Overdue<string>(2_000, () => nowMs);
  const at = (ms: number, isConnecting: boolean) => {
    nowMs = ms;
    return overdue.see("n1", isConnecting);
  };
  expect(at(0, true)).toBe(false);
  expect(at(1_999, true)).toBe(false);
  expect(at(2_000, true)).toBe(true);
  expect(at(2_100, true)).toBe(false);
  expect(at(4_099, true)).toBe(false);
  expect(at(4_100, true)).toBe(true);
});

it("counts anew after an end, and for each member by itself", () => {
  let nowMs = 0;
  const overdue = new Overdue<string>(2_000, () => nowMs);
  overdue.see("n1", true);
  nowMs = 1_500;
  expect(overdue.see("n2", true)).toBe(false);
  expect(overdue.see("n1", false)).toBe(false);
  nowMs = 2_500;
  expect(overdue.see("n1", true)).toBe(false);
  expect(overdue.see("n2", true)).toBe(false);
  nowMs = 3_500;
  expect(overdue.see("n2", true)).toBe(true);
});
