import { expect, test } from "vitest";
import { chart, judge, markdown, type Sample, summarise } from "./report.ts";

function pair(run: number, frozenMs: number, memoryMs: number): Sample[] {
  const common = { run, memoryBytes: 1000, downtimeMs: 20_000 };
  const none = { stillMs: null, preDumpStillMs: null };
  return [
    { ...common, ...none, mode: "stop-copy", frozenMs: 10_000, memoryMs: 8000, switchBytes: 1000 },
    { ...common, mode: "pre-copy", frozenMs, memoryMs, switchBytes: 20, stillMs: 30, preDumpStillMs: 700 },
  ];
}

test("goals are reached up to their limits", () => {
  const reached = (samples: Sample[]) => judge(samples).map((goal) => goal.reached);
  expect(reached([...pair(0, 4000, 800), ...pair(1, 4000, 800)])).toEqual([true, true]);
  expect(reached([...pair(0, 4001, 801), ...pair(1, 4001, 801)])).toEqual([false, false]);
  expect(judge(pair(0, 4000, 800).slice(0, 1))).toEqual([]);
});

test("the table has both ways", () => {
  const samples = [...pair(0, 4000, 800), ...pair(1, 3000, 700)];
  const table = markdown(summarise(samples), judge(samples));
  expect(table).toContain("| stop-copy | 10000 ms");
  expect(table).toContain("2.0 % (2.0 to 2.0)");
  expect(table).toContain("| 30 ms (30 to 30) | 700 ms (700 to 700) |");
  expect(chart(summarise(samples)).match(/class="bar/g)).toHaveLength(2);
});
