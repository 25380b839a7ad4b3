/** From the samples of the soft-dirty benchmark to what is said of them. Pure. */
import { barChart, duration } from "../bar-chart.ts";
import { bootstrapMedian, bootstrapPair, type Estimate } from "../bootstrap.ts";
import { milliseconds, percent } from "../estimate-text.ts";
import { type Goal, markdownOf } from "../markdown.ts";

export interface Sample {
  readonly run: number;
  readonly mode: "stop-copy" | "pre-copy";
  /** On the source, from the freeze until everything was sent. */
  readonly frozenMs: number;
  /** Of that, what the memory took behind CRIU's dump. */
  readonly memoryMs: number;
  readonly switchBytes: number;
  readonly memoryBytes: number;
  readonly downtimeMs: number;
  /** Of pre-copy, how long it stood still for a round; of several, the longest. */
  readonly stillMs: number | null;
  /** And for one of CRIU's own, just before. */
  readonly preDumpStillMs: number | null;
}

export interface Line {
  readonly mode: Sample["mode"];
  readonly runs: number;
  readonly frozenMs: Estimate;
  readonly memoryMs: Estimate;
  readonly downtimeMs: Estimate;
  readonly switchShare: Estimate;
  readonly stillMs: Estimate | null;
  readonly preDumpStillMs: Estimate | null;
}

/** Of what the switch of stop-copy takes. */
const FROZEN_SHARE_MAX = 0.4;
const MEMORY_SHARE_MAX = 0.1;

export function summarise(samples: readonly Sample[]): Line[] {
  return (["stop-copy", "pre-copy"] as const).flatMap((mode) => {
    const of = samples.filter((sample) => sample.mode === mode);
    if (of.length === 0) return [];
    return {
      mode,
      runs: of.length,
      frozenMs: bootstrapMedian(of.map(({ frozenMs }) => frozenMs)),
      memoryMs: bootstrapMedian(of.map(({ memoryMs }) => memoryMs)),
      downtimeMs: bootstrapMedian(of.map(({ downtimeMs }) => downtimeMs)),
      switchShare: bootstrapMedian(of.map(({ switchBytes, memoryBytes }) => switchBytes / memoryBytes)),
      stillMs: medianOf(of.map(({ stillMs }) => stillMs)),
      preDumpStillMs: medianOf(of.map((sample) => sample.preDumpStillMs)),
    };
  });
}

/** Null where none was measured. */
function medianOf(values: readonly (number | null)[]): Estimate | null {
  const measured = values.filter((value) => value !== null);
  return measured.length === 0 ? null : bootstrapMedian(measured);
}

export function judge(samples: readonly Sample[]): Goal[] {
  const stop = new Map(samples.filter(({ mode }) => mode === "stop-copy").map((sample) => [sample.run, sample]));
  const pairs = samples.flatMap((sample) => {
    const other = stop.get(sample.run);
    return sample.mode === "pre-copy" && other !== undefined ? [{ ours: sample, theirs: other }] : [];
  });
  if (pairs.length === 0) return [];
  const share = (of: (sample: Sample) => number): Estimate =>
    bootstrapPair(
      pairs.map(({ ours }) => of(ours)),
      pairs.map(({ theirs }) => of(theirs)),
      (ours, theirs) => ours / theirs,
    );
  const frozen = share(({ frozenMs }) => frozenMs);
  const memory = share(({ memoryMs }) => memoryMs);
  return [
    {
      what: `soft-dirty: from freeze to sent ${percent(frozen)} of stop-copy's, at most ${100 * FROZEN_SHARE_MAX} % wanted`,
      reached: frozen.value <= FROZEN_SHARE_MAX,
    },
    {
      what: `soft-dirty: the memory's part of it ${percent(memory)} of stop-copy's, at most ${100 * MEMORY_SHARE_MAX} % wanted`,
      reached: memory.value <= MEMORY_SHARE_MAX,
    },
  ];
}

export function markdown(lines: readonly Line[], goals: readonly Goal[]): string {
  const rows = lines.map(({ mode, frozenMs, memoryMs, downtimeMs, switchShare, stillMs, preDumpStillMs, runs }) => [
    mode,
    milliseconds(frozenMs),
    milliseconds(memoryMs),
    percent(switchShare),
    milliseconds(downtimeMs),
    stillMs === null ? "" : milliseconds(stillMs),
    preDumpStillMs === null ? "" : milliseconds(preDumpStillMs),
    runs,
  ]);
  return markdownOf(
    [
      ...["Mode", "From freeze to sent", "Of it memory", "Memory sent in the switch", "Downtime"],
      ...["Still for a round", "Still for CRIU's", "Runs"],
    ],
    rows,
    goals,
  );
}

export function chart(lines: readonly Line[]): string {
  return barChart({
    title: "From the freeze until everything is sent, between emulated machines",
    scale: "linear",
    groups: [
      {
        title: "A Redis under light load, on a kernel that notes what is written to",
        bars: lines.map(({ mode, frozenMs }) => ({ label: mode, estimate: frozenMs, isOurs: mode === "pre-copy" })),
      },
    ],
    format: duration,
  });
}
