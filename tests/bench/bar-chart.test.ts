import { expect, test } from "vitest";
import { barChart, duration } from "./bar-chart.ts";

const at = (value: number) => ({ value, low: value * 0.9, high: value * 1.1 });
const groups = [
  { title: "a & b", bars: [{ label: "theirs", estimate: at(2000), isOurs: false }] },
  { title: "c", bars: [{ label: "<ours>", estimate: at(250), isOurs: true }] },
];
/** Of the bars, in their order. */
const widths = (svg: string) =>
  [...svg.matchAll(/class="bar[^>]* width="([\d.]+)"/g)].map(([, width]) => Number(width));

test.each(["linear", "logarithmic"] as const)("%s: a bar for every estimate, in one SVG document", (scale) => {
  const svg = barChart({ title: "t", scale, groups, format: duration });
  expect(svg.startsWith("<svg ")).toBe(true);
  expect(widths(svg)).toHaveLength(2);
  expect(svg.match(/class="bar ours"/g)).toHaveLength(1);
  expect(svg).toContain("a &amp; b");
  expect(svg).toContain("&lt;ours>");
  expect(svg).not.toContain("NaN");
});

test("a linear bar is as long as its value, a logarithmic one as its logarithm", () => {
  const [two = 0, quarter = 0] = widths(barChart({ title: "t", scale: "linear", groups, format: String }));
  expect(two / quarter).toBeCloseTo(8, 1);
  // From 100 on: log10(20) and log10(2.5).
  const [high = 0, low = 0] = widths(barChart({ title: "t", scale: "logarithmic", groups, format: String }));
  expect(high / low).toBeCloseTo(Math.log10(20) / Math.log10(2.5), 1);
});

test("durations are short", () => {
  expect([duration(0), duration(949.6), duration(1250), duration(12_543)]).toEqual([
    "0 ms",
    "950 ms",
    "1.25 s",
    "12.5 s",
  ]);
});
