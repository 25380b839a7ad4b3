import { expect, test } from "vitest";
import { chart, type Count, judge, markdown, ratesOf, type Sample, summarise } from "./report.ts";

/** Ten thousand commands a second for ten seconds, of them nine thousand from the sixth on. */
const counts: Count[] = Array.from({ length: 101 }, (_, n) => ({
  atMs: n * 100,
  commands: n <= 60 ? n * 1000 : 60_000 + (n - 60) * 900,
}));

const samples = (copyingPerSecond: number): Sample[] =>
  [0, 1, 2].map((run) => ({ run, quietPerSecond: 10_000, copyingPerSecond, copyingMs: 3000, rounds: 3 }));

test("rates are those of the time before the migration, and of all of its rounds", () => {
  const rates = ratesOf(counts, [
    { fromMs: 6000, durationMs: 1500 },
    { fromMs: 7600, durationMs: 400 },
  ]);
  expect(rates).toEqual({ quietPerSecond: 10_000, copyingPerSecond: 9000, copyingMs: 2000 });
  expect(() => ratesOf(counts, [{ fromMs: 20_000, durationMs: 100 }])).toThrow("too few counts");
});

test("the goal is missed from its limit on", () => {
  expect(judge(summarise(samples(8501)))).toMatchObject([{ reached: true }]);
  expect(judge(summarise(samples(8499)))).toMatchObject([{ reached: false }]);
  expect(judge(summarise([]))).toEqual([]);
});

test("the table and the chart have both rates", () => {
  const lines = summarise(samples(9000));
  expect(markdown(lines, judge(lines))).toContain("| 10000 (10000 to 10000) | 9000 (9000 to 9000) | 10.0 %");
  expect(chart(lines).match(/class="bar/g)).toHaveLength(2);
});
