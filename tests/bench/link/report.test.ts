import { expect, test } from "vitest";
import { chart, judge, markdown, type Sample, summarise } from "./report.ts";

function pair(run: number, stop: number, pre: number, switchBytes: number): Sample[] {
  const common = { run, totalMs: 10_000, memoryBytes: 1000, rounds: 3 };
  return [
    { ...common, mode: "stop-copy", downtimeMs: stop, switchBytes: 1000 },
    { ...common, mode: "pre-copy", downtimeMs: pre, switchBytes },
  ];
}

test("goals are reached up to their limits", () => {
  const reached = (samples: Sample[]) => judge(samples).map((goal) => goal.reached);
  expect(reached([...pair(0, 9000, 1800, 50), ...pair(1, 9000, 1800, 50)])).toEqual([true, true]);
  expect(reached([...pair(0, 9000, 1801, 51), ...pair(1, 9000, 1801, 51)])).toEqual([false, false]);
  expect(judge(pair(0, 9000, 1000, 1).slice(0, 1))).toEqual([]);
});

test("the table has both ways", () => {
  const samples = [...pair(0, 9000, 1000, 20), ...pair(1, 9100, 1100, 20)];
  const table = markdown(summarise(samples), judge(samples));
  expect(table).toContain("| stop-copy | 90");
  expect(table).toContain("2.0 % (2.0 to 2.0)");
  expect(chart(summarise(samples)).match(/class="bar/g)).toHaveLength(2);
});
