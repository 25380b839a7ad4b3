/** From the samples to what is said of them: summary, goals, Markdown. Pure. */
import { barChart, duration } from "../bar-chart.ts";
import { bootstrapMedian, bootstrapPair, type Estimate } from "../bootstrap.ts";
import { percent } from "../estimate-text.ts";
import { type Goal, markdownOf } from "../markdown.ts";
import type { DrayageMeasurement } from "./drayage.ts";
import { isMode, LABELS, SHORT_LABELS, type Measurement, type ModeName, type WayName } from "./way.ts";

export interface Sample extends Measurement {
  readonly way: WayName;
  readonly megabytes: number;
  readonly run: number;
  /** Of Drayage's, by its own account; see drayage.ts. */
  readonly lockedMs?: number;
  readonly phases?: DrayageMeasurement["phases"];
}

export interface Line {
  readonly way: WayName;
  readonly megabytes: number;
  readonly runs: number;
  readonly downtimeMs: Estimate;
  readonly totalMs: Estimate;
}

/** Times that the stock way's downtime must be of a mode's, by size. */
const STOCK_RATIOS_MIN: readonly { readonly mode: ModeName; readonly megabytes: number; readonly least: number }[] = [
  { mode: "auto", megabytes: 100, least: 5 },
  { mode: "stop-copy", megabytes: 100, least: 5 },
  { mode: "auto", megabytes: 1024, least: 10 },
  { mode: "stop-copy", megabytes: 1024, least: 10 },
  { mode: "hybrid", megabytes: 1024, least: 50 },
  { mode: "post-copy", megabytes: 1024, least: 50 },
];
/** What ten times the memory may cost a mode that fetches it afterwards. */
const GROWTH_MAX = 1.3;
const FETCHING: readonly ModeName[] = ["hybrid", "post-copy"];
/** Of their downtime, what is neither CRIU's dump nor the restore of what was dumped, at this size. */
const OWN_SHARE_MAX = 0.35;
const OWN_SHARE_MEGABYTES = 1024;
const OF_CRIU: ReadonlySet<string> = new Set(["dump", "restore"]);
/** Which take how much longer than the bare script at this size. */
const BESIDE_SCRIPT: readonly ModeName[] = ["auto", "stop-copy"];
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
  const of = (way: WayName, megabytes: number) => ({ way, megabytes });
  for (const { mode, megabytes, least } of STOCK_RATIOS_MIN) {
    const ratio = compare(samples, of("docker", megabytes), of(mode, megabytes), (stock, ours) => stock / ours);
    if (ratio === undefined) continue;
    const what = `${mode}: downtime at ${megabytes} MB ${times(ratio)} below stock Docker's, at least ${least} wanted`;
    goals.push({ what, reached: ratio.value >= least });
  }
  for (const mode of FETCHING) {
    const growth = compare(samples, of(mode, 1024), of(mode, 100), (large, small) => large / small);
    if (growth === undefined) continue;
    const what = `${mode}: downtime at 1024 MB ${times(growth)} its own at 100 MB, at most ${GROWTH_MAX} wanted`;
    goals.push({ what, reached: growth.value <= GROWTH_MAX });
  }
  for (const mode of FETCHING) {
    const shares = samples.flatMap((s) => (s.way === mode && s.megabytes === OWN_SHARE_MEGABYTES ? ownShare(s) : []));
    if (shares.length === 0) continue;
    const share = bootstrapMedian(shares);
    const what = `${mode}: ${percent(share)} of the downtime at ${OWN_SHARE_MEGABYTES} MB beside CRIU's dump and restore, at most ${100 * OWN_SHARE_MAX} % wanted`;
    goals.push({ what, reached: share.value <= OWN_SHARE_MAX });
  }
  const script = of("runc", SCRIPT_MEGABYTES);
  for (const mode of BESIDE_SCRIPT) {
    const extra = compare(samples, script, of(mode, SCRIPT_MEGABYTES), (theirs, ours) => ours - theirs);
    if (extra === undefined) continue;
    const what = `${mode}: downtime at ${SCRIPT_MEGABYTES} MB ${interval(extra)} above the plain script's, at most ${SCRIPT_EXTRA_MAX_MS} wanted`;
    goals.push({ what, reached: extra.value <= SCRIPT_EXTRA_MAX_MS });
  }
  return goals;
}

/** One number, or none where the sample has no phases. */
function ownShare({ lockedMs, phases }: Sample): number[] {
  if (lockedMs === undefined || phases === undefined) return [];
  const criuMs = phases.filter(({ name }) => OF_CRIU.has(name)).reduce((sum, { duration_ms }) => sum + duration_ms, 0);
  return [(lockedMs - criuMs) / lockedMs];
}

interface Series {
  readonly way: WayName;
  readonly megabytes: number;
}

/** Of two series, run by run; undefined unless both were measured. */
function compare(
  samples: readonly Sample[],
  one: Series,
  other: Series,
  statistic: (one: number, other: number) => number,
): Estimate | undefined {
  const of = ({ way, megabytes }: Series) =>
    new Map(samples.filter((s) => s.way === way && s.megabytes === megabytes).map((s) => [s.run, s.downtimeMs]));
  const first = of(one);
  const second = of(other);
  const runs = [...first.keys()].filter((run) => second.has(run));
  if (runs.length === 0) return undefined;
  return bootstrapPair(
    runs.map((run) => first.get(run) as number),
    runs.map((run) => second.get(run) as number),
    statistic,
  );
}

export function markdown(lines: readonly Line[], goals: readonly Goal[]): string {
  const rows = lines.map(({ way, megabytes, runs, downtimeMs, totalMs }) => [
    `${megabytes} MB`,
    LABELS[way],
    interval(downtimeMs),
    interval(totalMs),
    runs,
  ]);
  return markdownOf(["Memory", "Way", "Downtime", "Total", "Runs"], rows, goals);
}

export function chart(lines: readonly Line[]): string {
  return barChart({
    title: "Downtime of a move between two nodes",
    scale: "logarithmic",
    groups: unique(lines.map(({ megabytes }) => megabytes)).map((megabytes) => ({
      title: `Redis with ${megabytes} MB`,
      bars: lines
        .filter((line) => line.megabytes === megabytes)
        .map(({ way, downtimeMs }) => ({ label: SHORT_LABELS[way], estimate: downtimeMs, isOurs: isMode(way) })),
    })),
    format: duration,
  });
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
