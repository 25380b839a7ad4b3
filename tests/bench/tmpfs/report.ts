/** From the samples of the tmpfs benchmark to what is said of them. Pure. */
import { barChart, duration } from "../bar-chart.ts";
import { bootstrapMedian, bootstrapPair, type Estimate } from "../bootstrap.ts";
import { milliseconds } from "../estimate-text.ts";
import { type Goal, markdownOf } from "../markdown.ts";

export const WAYS = ["empty", "full", "left to CRIU"] as const;
export type Way = (typeof WAYS)[number];

export interface Sample {
  readonly run: number;
  readonly way: Way;
  readonly downtimeMs: number;
  readonly totalMs: number;
}

export interface Line {
  readonly way: Way;
  readonly runs: number;
  readonly downtimeMs: Estimate;
  readonly totalMs: Estimate;
}

/** Of the downtime with nothing in it. */
const GROWTH_MAX = 1.3;

export function summarise(samples: readonly Sample[]): Line[] {
  return WAYS.flatMap((way) => {
    const of = samples.filter((sample) => sample.way === way);
    if (of.length === 0) return [];
    return {
      way,
      runs: of.length,
      downtimeMs: bootstrapMedian(of.map(({ downtimeMs }) => downtimeMs)),
      totalMs: bootstrapMedian(of.map(({ totalMs }) => totalMs)),
    };
  });
}

export function judge(samples: readonly Sample[]): Goal[] {
  const empty = new Map(samples.filter(({ way }) => way === "empty").map(({ run, downtimeMs }) => [run, downtimeMs]));
  const pairs = samples.filter(({ way, run }) => way === "full" && empty.has(run));
  if (pairs.length === 0) return [];
  const { value, low, high } = bootstrapPair(
    pairs.map(({ downtimeMs }) => downtimeMs),
    pairs.map(({ run }) => empty.get(run) ?? Number.NaN),
    (full, nothing) => full / nothing,
  );
  return [
    {
      what: `a full tmpfs: downtime ${value.toFixed(2)} times (${low.toFixed(2)} to ${high.toFixed(2)}) that with an empty one, at most ${GROWTH_MAX} wanted`,
      reached: value <= GROWTH_MAX,
    },
  ];
}

export function markdown(lines: readonly Line[], goals: readonly Goal[]): string {
  const rows = lines.map(({ way, downtimeMs, totalMs, runs }) => [
    way,
    milliseconds(downtimeMs),
    milliseconds(totalMs),
    runs,
  ]);
  return markdownOf(["tmpfs", "Downtime", "Total", "Runs"], rows, goals);
}

export function chart(lines: readonly Line[]): string {
  const bars = lines.map(({ way, downtimeMs }) => ({
    label: way,
    estimate: downtimeMs,
    isOurs: way !== "left to CRIU",
  }));
  return barChart({
    title: "Downtime with a tmpfs",
    scale: "logarithmic",
    groups: [{ title: "Stop-copy of a container with little memory beside it", bars }],
    format: duration,
  });
}
