/** From the samples to what is said of them: summary, goals, Markdown. Pure. */
import { bootstrapMedian, bootstrapPair, type Estimate } from "../bootstrap.ts";
import { LABELS, type Measurement, type WayName } from "./way.ts";

export interface Sample extends Measurement {
  readonly way: WayName;
  readonly megabytes: number;
  readonly run: number;
}

export interface Line {
  readonly way: WayName;
  readonly megabytes: number;
  readonly runs: number;
  readonly downtimeMs: Estimate;
  readonly totalMs: Estimate;
}

export interface Goal {
  readonly what: string;
  readonly reached: boolean;
}

/** Times that the stock way's downtime must be of Drayage's, by size. */
const STOCK_RATIO_MIN: ReadonlyMap<number, number> = new Map([
  [100, 5],
  [1024, 10],
]);
/** How much longer than the bare script at this size. */
const SCRIPT_EXTRA_MAX_MS = 150;
const SCRIPT_MEGABYTES = 100;

export function summarise(samples: readonly Sample[]): Line[] {
  const lines: Line[] = [];
  for (const megabytes of unique(samples.map((sample) => sample.megabytes))) {
    for (const way of unique(samples.map((sample) => sample.way))) {
      const of = samples.filter((sample) => sample.way === way && sample.megabytes === megabytes);
      if (of.length === 0) continue;
      lines.push({
        way,
        megabytes,
        runs: of.length,
        downtimeMs: bootstrapMedian(of.map(({ downtimeMs }) => downtimeMs)),
        totalMs: bootstrapMedian(of.map(({ totalMs }) => totalMs)),
      });
    }
  }
  return lines;
}

/** Only goals of which both ways were measured. */
export function judge(samples: readonly Sample[]): Goal[] {
  const goals: Goal[] = [];
  for (const [megabytes, least] of STOCK_RATIO_MIN) {
    const ratio = compare(samples, megabytes, "docker", (stock, ours) => stock / ours);
    if (ratio === undefined) continue;
    const what = `downtime at ${megabytes} MB ${times(ratio)} below stock Docker's, at least ${least} wanted`;
    goals.push({ what, reached: ratio.value >= least });
  }
  const extra = compare(samples, SCRIPT_MEGABYTES, "runc", (script, ours) => ours - script);
  if (extra !== undefined) {
    const what = `downtime at ${SCRIPT_MEGABYTES} MB ${interval(extra)} above the plain script's, at most ${SCRIPT_EXTRA_MAX_MS} wanted`;
    goals.push({ what, reached: extra.value <= SCRIPT_EXTRA_MAX_MS });
  }
  return goals;
}

function compare(
  samples: readonly Sample[],
  megabytes: number,
  way: WayName,
  statistic: (theirs: number, ours: number) => number,
): Estimate | undefined {
  const of = (name: WayName) =>
    new Map(samples.filter((s) => s.way === name && s.megabytes === megabytes).map((s) => [s.run, s.downtimeMs]));
  const theirs = of(way);
  const ours = of("drayage");
  const runs = [...theirs.keys()].filter((run) => ours.has(run));
  if (runs.length === 0) return undefined;
  return bootstrapPair(
    runs.map((run) => theirs.get(run) as number),
    runs.map((run) => ours.get(run) as number),
    statistic,
  );
}

export function markdown(lines: readonly Line[], goals: readonly Goal[]): string {
  const rows = lines.map(
    ({ way, megabytes, runs, downtimeMs, totalMs }) =>
      `| ${megabytes} MB | ${LABELS[way]} | ${interval(downtimeMs)} | ${interval(totalMs)} | ${runs} |`,
  );
  return [
    "| Memory | Way | Downtime | Total | Runs |",
    "|---|---|---|---|---|",
    ...rows,
    "",
    ...goals.map(({ what, reached }) => `- ${reached ? "Reached" : "Missed"}: ${what}`),
    "",
  ].join("\n");
}

function interval({ value, low, high }: Estimate): string {
  return `${ms(value)} ms (${ms(low)} to ${ms(high)})`;
}

function times({ value, low, high }: Estimate): string {
  return `${value.toFixed(1)} times (${low.toFixed(1)} to ${high.toFixed(1)})`;
}

function ms(value: number): string {
  return Math.round(value).toLocaleString("en").replaceAll(",", " ");
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
