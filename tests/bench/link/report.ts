/** From the samples of the link benchmark to what is said of them. Pure. */
import { barChart, duration } from "../bar-chart.ts";
import { bootstrapMedian, bootstrapPair, type Estimate } from "../bootstrap.ts";
import { milliseconds, percent } from "../estimate-text.ts";
import { type Goal, markdownOf } from "../markdown.ts";

export interface Sample {
  readonly run: number;
  readonly mode: "stop-copy" | "pre-copy";
  readonly downtimeMs: number;
  readonly totalMs: number;
  readonly memoryBytes: number;
  /** Sent while the container stood still. */
  readonly switchBytes: number;
  readonly rounds: number;
}

export interface Line {
  readonly mode: Sample["mode"];
  readonly runs: number;
  readonly downtimeMs: Estimate;
  readonly totalMs: Estimate;
  readonly switchShare: Estimate;
}

/** Of stop-copy's downtime. */
const DOWNTIME_SHARE_MAX = 0.2;
/** Of the memory. */
const SWITCH_SHARE_MAX = 0.05;

export function summarise(samples: readonly Sample[]): Line[] {
  return (["stop-copy", "pre-copy"] as const).flatMap((mode) => {
    const of = samples.filter((sample) => sample.mode === mode);
    if (of.length === 0) return [];
    return {
      mode,
      runs: of.length,
      downtimeMs: bootstrapMedian(of.map(({ downtimeMs }) => downtimeMs)),
      totalMs: bootstrapMedian(of.map(({ totalMs }) => totalMs)),
      switchShare: bootstrapMedian(of.map(({ switchBytes, memoryBytes }) => switchBytes / memoryBytes)),
    };
  });
}

export function judge(samples: readonly Sample[]): Goal[] {
  const pre = samples.filter(({ mode }) => mode === "pre-copy");
  const stop = new Map(samples.filter(({ mode }) => mode === "stop-copy").map((sample) => [sample.run, sample]));
  const pairs = pre.filter(({ run }) => stop.has(run));
  if (pairs.length === 0) return [];
  const share = bootstrapPair(
    pairs.map(({ downtimeMs }) => downtimeMs),
    pairs.map(({ run }) => stop.get(run)?.downtimeMs ?? Number.NaN),
    (ours, theirs) => ours / theirs,
  );
  const sent = bootstrapMedian(pre.map(({ switchBytes, memoryBytes }) => switchBytes / memoryBytes));
  return [
    {
      what: `pre-copy: downtime ${percent(share)} of stop-copy's on the same link, at most ${100 * DOWNTIME_SHARE_MAX} % wanted`,
      reached: share.value <= DOWNTIME_SHARE_MAX,
    },
    {
      what: `pre-copy: ${percent(sent)} of the memory sent in the switch, at most ${100 * SWITCH_SHARE_MAX} % wanted`,
      reached: sent.value <= SWITCH_SHARE_MAX,
    },
  ];
}

export function markdown(lines: readonly Line[], goals: readonly Goal[]): string {
  const rows = lines.map(({ mode, downtimeMs, totalMs, switchShare, runs }) => [
    mode,
    milliseconds(downtimeMs),
    milliseconds(totalMs),
    percent(switchShare),
    runs,
  ]);
  return markdownOf(["Mode", "Downtime", "Total", "Sent in the switch", "Runs"], rows, goals);
}

export function chart(lines: readonly Line[]): string {
  return barChart({
    title: "Downtime over a slow link",
    scale: "linear",
    groups: [
      {
        title: "Memory of noise, a part of it rewritten all the time",
        bars: lines.map(({ mode, downtimeMs }) => ({
          label: mode,
          estimate: downtimeMs,
          isOurs: mode === "pre-copy",
        })),
      },
    ],
    format: duration,
  });
}
