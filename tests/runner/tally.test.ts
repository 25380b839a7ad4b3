import { expect, test } from "vitest";
import { add, closingLine, failureLines, failureOf, NOTHING, type Report, tallyOf } from "./tally.ts";

const failure = { file: "a/b.test.ts", name: "of a > does b", message: "expected 1 to be 2\n\n  at b.test.ts:3" };
const report = (changes: Partial<Report>): Report => ({ passed: 3, skipped: 1, failures: [], ...changes });

test("a clean report", () => {
  expect(tallyOf("unit", report({}), 0)).toEqual({ passed: 3, skipped: 1, failures: [] });
});

test("a failure belongs to its part, and explains the exit code", () => {
  expect(tallyOf("e2e forky", report({ failures: [failure] }), 1).failures).toEqual([
    { part: "e2e forky", ...failure },
  ]);
});

test("an exit code that nothing explains is a failure, and so is no report", () => {
  expect(tallyOf("unit", report({}), 1).failures).toHaveLength(1);
  expect(tallyOf("unit", undefined, 0).failures).toHaveLength(1);
});

test("the closing line", () => {
  const sum = add(add(NOTHING, tallyOf("unit", report({ passed: 2 }), 0)), failureOf("bench", "no"));
  expect(closingLine(sum)).toBe("2 passed, 1 failed");
});

test("says what failed, and why in no more than a few lines", () => {
  expect(failureLines(tallyOf("unit", report({ failures: [failure] }), 1))).toEqual([
    "FAILED  unit  a/b.test.ts  of a > does b",
    "    expected 1 to be 2",
    "      at b.test.ts:3",
  ]);
  expect(failureLines(failureOf("bench", `${"x".repeat(1000)}\n`.repeat(100))).join("\n").length).toBeLessThan(2500);
});
