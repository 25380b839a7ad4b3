import { expect, test } from "vitest";
import { add, closingLine, NOTHING, tallyOf, type VitestReport } from "./tally.ts";

const report = (changes: Partial<VitestReport>): VitestReport => ({
  numPassedTests: 3,
  numFailedTests: 0,
  numPendingTests: 1,
  testResults: [],
  ...changes,
});

test("a clean report", () => {
  expect(tallyOf(report({}), 0)).toEqual({ passed: 3, failed: 0, skipped: 1 });
});

test("failed tests are counted once, though their file failed too", () => {
  const testResults = [{ status: "failed", assertionResults: [{ status: "failed" }, { status: "passed" }] }];
  expect(tallyOf(report({ numFailedTests: 1, testResults }), 1).failed).toBe(1);
});

test("a file that did not load is a failure", () => {
  expect(tallyOf(report({ testResults: [{ status: "failed", assertionResults: [] }] }), 1).failed).toBe(1);
});

test("an exit code that nothing explains is a failure, and so is no report", () => {
  expect(tallyOf(report({}), 1).failed).toBe(1);
  expect(tallyOf(undefined, 0).failed).toBe(1);
});

test("the closing line", () => {
  const sum = add(add(NOTHING, { passed: 2, failed: 0, skipped: 1 }), { passed: 3, failed: 1, skipped: 0 });
  expect(closingLine(sum)).toBe("5 passed, 1 failed");
});
