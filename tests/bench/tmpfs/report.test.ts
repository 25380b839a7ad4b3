import { expect, test } from "vitest";
import { chart, judge, markdown, type Sample, summarise } from "./report.ts";

function round(run: number, empty: number, full: number): Sample[] {
  return [
    { run, way: "empty", downtimeMs: empty, totalMs: 3000 },
    { run, way: "full", downtimeMs: full, totalMs: 9000 },
    { run, way: "left to CRIU", downtimeMs: 20_000, totalMs: 30_000 },
  ];
}

test("the goal is reached up to its limit", () => {
  expect(judge([...round(0, 500, 650), ...round(1, 500, 650)])).toMatchObject([{ reached: true }]);
  expect(judge([...round(0, 500, 651), ...round(1, 500, 651)])).toMatchObject([{ reached: false }]);
  expect(judge(round(0, 500, 600).slice(1))).toEqual([]);
});

test("the table and the chart have all ways", () => {
  const samples = [...round(0, 500, 600), ...round(1, 510, 610)];
  const lines = summarise(samples);
  const table = markdown(lines, judge(samples));
  for (const way of ["| empty | 505 ms", "| full | 605 ms", "| left to CRIU | 20000 ms"]) expect(table).toContain(way);
  expect(chart(lines).match(/class="bar/g)).toHaveLength(3);
});
