/** From counted commands to what pre-copy costs the application. Pure. */
import { barChart } from "../bar-chart.ts";
import { bootstrapMedian, bootstrapPair, type Estimate } from "../bootstrap.ts";
import { percent } from "../estimate-text.ts";
import { type Goal, markdownOf } from "../markdown.ts";

/** So many commands had been carried out then. */
export interface Count {
  readonly atMs: number;
  readonly commands: number;
}

export interface Period {
  readonly fromMs: number;
  readonly durationMs: number;
}

export interface Sample {
  readonly run: number;
  /** Before the migration began. */
  readonly quietPerSecond: number;
  /** While its memory was copied. */
  readonly copyingPerSecond: number;
  readonly copyingMs: number;
  readonly rounds: number;
}

export interface Line {
  readonly runs: number;
  readonly quietPerSecond: Estimate;
  readonly copyingPerSecond: Estimate;
  /** How much less it is, of what it was. */
  readonly loss: Estimate;
}

/** Less than this may be lost. */
const LOSS_MAX = 0.15;
/** How long before the copying the quiet time ends: the migration has begun by then, and checks the container. */
const BEFORE_MS = 2_000;

/** RangeError if the counts do not cover the periods, and the time before them. */
export function ratesOf(
  counts: readonly Count[],
  copying: readonly Period[],
): Pick<Sample, "quietPerSecond" | "copyingPerSecond" | "copyingMs"> {
  const fromMs = Math.min(...copying.map((period) => period.fromMs));
  const toMs = Math.max(...copying.map((period) => period.fromMs + period.durationMs));
  return {
    quietPerSecond: rate(counts.filter(({ atMs }) => atMs <= fromMs - BEFORE_MS)),
    copyingPerSecond: rate(counts.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs)),
    copyingMs: toMs - fromMs,
  };
}

function rate(counts: readonly Count[]): number {
  const first = counts[0];
  const last = counts.at(-1);
  if (first === undefined || last === undefined || last.atMs <= first.atMs) throw new RangeError("too few counts");
  return ((last.commands - first.commands) * 1000) / (last.atMs - first.atMs);
}

export function summarise(samples: readonly Sample[]): Line[] {
  if (samples.length === 0) return [];
  const quiet = samples.map(({ quietPerSecond }) => quietPerSecond);
  const copying = samples.map(({ copyingPerSecond }) => copyingPerSecond);
  return [
    {
      runs: samples.length,
      quietPerSecond: bootstrapMedian(quiet),
      copyingPerSecond: bootstrapMedian(copying),
      loss: bootstrapPair(quiet, copying, (before, during) => 1 - during / before),
    },
  ];
}

export function judge(lines: readonly Line[]): Goal[] {
  return lines.map(({ loss }) => ({
    what: `pre-copy: the application does ${percent(loss)} less while it is copied, less than ${100 * LOSS_MAX} % wanted`,
    reached: loss.value < LOSS_MAX,
  }));
}

export function markdown(lines: readonly Line[], goals: readonly Goal[]): string {
  const rows = lines.map(({ runs, quietPerSecond, copyingPerSecond, loss }) => [
    perSecond(quietPerSecond),
    perSecond(copyingPerSecond),
    percent(loss),
    runs,
  ]);
  return markdownOf(["Commands a second", "While it is copied", "Less", "Runs"], rows, goals);
}

export function chart(lines: readonly Line[]): string {
  return barChart({
    title: "Redis under full load, and what pre-copy leaves of it",
    scale: "linear",
    groups: lines.map(({ quietPerSecond, copyingPerSecond }) => ({
      title: "Commands a second",
      bars: [
        { label: "not migrated", estimate: quietPerSecond, isOurs: false },
        { label: "in pre-copy", estimate: copyingPerSecond, isOurs: true },
      ],
    })),
    format: (value) => value.toFixed(0),
  });
}

function perSecond({ value, low, high }: Estimate): string {
  return `${value.toFixed(0)} (${low.toFixed(0)} to ${high.toFixed(0)})`;
}
