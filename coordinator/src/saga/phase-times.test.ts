import { expect, test } from "vitest";
import { withSteps } from "./phase-times.ts";

test("what an agent tells again is there once; the same step begun anew is another", () => {
  const step = (node: string, name: string, startedAtMs: number) => ({ node, name, startedAtMs, durationMs: 1 });
  const dump = step("n1", "dump", 5);
  const times = withSteps([step("c1", "sync", 1), dump], [dump, step("n2", "dump", 5), step("n1", "dump", 9)]);
  expect(times.map(({ node, name, startedAtMs }) => `${node} ${name} ${startedAtMs}`)).toEqual([
    "c1 sync 1",
    "n1 dump 5",
    "n2 dump 5",
    "n1 dump 9",
  ]);
});
