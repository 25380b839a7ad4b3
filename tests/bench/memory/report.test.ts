import { expect, test } from "vitest";
import { chart, judge, markdown, type Sample, summarise } from "./report.ts";

const sample = (run: number, more: Partial<Sample> = {}): Sample => ({
  run,
  megabytes: 512,
  content: "noise",
  change: "none",
  mode: "stop-copy",
  took: "stop-copy",
  downtimeMs: 1500,
  totalMs: 3000,
  wireBytes: 512 * 2 ** 20,
  sourceCpuMs: 600,
  destinationCpuMs: 800,
  peakBytes: 299e6,
  ...more,
});

test("processor time is that of a whole GiB, the mode that it came to is named", () => {
  const samples = [
    sample(0),
    sample(1),
    sample(0, { mode: "auto", took: "pre-copy", change: "tenth", downtimeMs: 300 }),
  ];
  const lines = summarise(samples);
  const table = markdown(lines, judge(samples));
  expect(table).toContain(
    "| noise, 512 MB | at rest | stop-copy | 1500 ms (1500 to 1500) | 3000 ms (3000 to 3000) | 512 MiB | 1.20 s | 1.60 s | 2 |",
  );
  expect(table).toContain("| a tenth a second | auto: pre-copy | 300 ms");
  expect(chart(lines).match(/class="bar/g)).toHaveLength(2);
});

test("the largest of all resident sets is judged", () => {
  expect(judge([sample(0)])).toMatchObject([{ reached: true }]);
  expect(judge([sample(0), sample(1, { peakBytes: 300e6 })])).toMatchObject([{ reached: false }]);
  expect(judge([])).toEqual([]);
});
