import { expect, test } from "vitest";
import { chart, judge, markdown, type Sample, summarise } from "./report.ts";
import type { WayName } from "./way.ts";

function samples(of: Partial<Record<WayName, number>>, megabytes: number): Sample[] {
  return [0, 1, 2].flatMap((run) =>
    Object.entries(of).map(([way, downtimeMs]) => ({
      way: way as WayName,
      megabytes,
      run,
      downtimeMs,
      totalMs: 2 * downtimeMs,
    })),
  );
}

test("goals are reached exactly from their limit on", () => {
  const reached = (of: Partial<Record<WayName, number>>, megabytes: number) =>
    judge(samples(of, megabytes)).map((goal) => goal.reached);
  expect(reached({ docker: 2000, runc: 250, "stop-copy": 400 }, 100)).toEqual([true, true]);
  expect(reached({ docker: 1999, runc: 249, "stop-copy": 400 }, 100)).toEqual([false, false]);
  expect(reached({ docker: 2000, runc: 250, auto: 400, "stop-copy": 401 }, 100)).toEqual([true, false, true, false]);
  expect(reached({ docker: 4000, "stop-copy": 400 }, 1024)).toEqual([true]);
  expect(reached({ docker: 3999, "stop-copy": 400 }, 1024)).toEqual([false]);
});

test("of modes that fetch memory afterwards it also counts how their downtime grows", () => {
  const of = (small: number, large: number) => [
    ...samples({ hybrid: small }, 100),
    ...samples({ docker: 20_000, hybrid: large }, 1024),
  ];
  expect(judge(of(400, 400)).map(({ reached }) => reached)).toEqual([true, true]);
  expect(judge(of(300, 401)).map(({ reached }) => reached)).toEqual([false, false]);
});

test("of these it also counts what is neither CRIU's dump nor the restore", () => {
  const of = (dumpMs: number) =>
    samples({ "post-copy": 500 }, 1024).map((sample) => ({
      ...sample,
      lockedMs: 400,
      phases: [
        { name: "freeze", node: "n1", duration_ms: 20 },
        { name: "dump", node: "n1", duration_ms: dumpMs },
        { name: "restore", node: "n2", duration_ms: 160 },
      ],
    }));
  expect(judge(of(100)).map(({ reached }) => reached)).toEqual([true]);
  expect(judge(of(99)).map(({ reached }) => reached)).toEqual([false]);
});

test("a way that was not measured gives no goal", () => {
  expect(judge(samples({ "stop-copy": 400 }, 100))).toEqual([]);
});

test("the table has a row for each way and size, with the number of runs", () => {
  const all = [...samples({ docker: 12_345, "stop-copy": 400 }, 100), ...samples({ "stop-copy": 900 }, 1024)];
  const table = markdown(summarise(all), judge(all));
  expect(table).toContain("12 345 ms (12 345 to 12 345) | 24 690 ms");
  expect(table.match(/\| 3 \|$/gm)).toHaveLength(3);
  expect(table).toContain("- Reached: stop-copy: downtime at 100 MB 30.9 times");
});

test("the chart has a bar for every line", () => {
  const lines = summarise(samples({ docker: 2000, runc: 250, "stop-copy": 400 }, 100));
  expect(chart(lines).match(/class="bar/g)).toHaveLength(3);
});
