/** What is said of the samples. Pure. */
import { barChart, duration } from "../bar-chart.ts";
import { bootstrapMedian, bootstrapPair, type Estimate } from "../bootstrap.ts";
import { type Goal, markdownOf } from "../markdown.ts";

/** The agent's state while it was measured. */
export const CONDITIONS = ["the agent runs", "the agent is stopped"] as const;
export type Condition = (typeof CONDITIONS)[number];

/** Milliseconds of each `docker exec`, in turns. */
export interface Samples {
  readonly runc: readonly number[];
  readonly drayage: readonly number[];
}

export interface Line {
  readonly condition: Condition;
  readonly runs: number;
  readonly runcMs: Estimate;
  readonly drayageMs: Estimate;
  /** Median of the one above that of the other. */
  readonly extraMs: Estimate;
}

const EXTRA_MAX_MS = 3;

export function summarise(condition: Condition, { runc, drayage }: Samples): Line {
  return {
    condition,
    runs: runc.length,
    runcMs: bootstrapMedian(runc),
    drayageMs: bootstrapMedian(drayage),
    extraMs: bootstrapPair(runc, drayage, (theirs, ours) => ours - theirs),
  };
}

export function judge(lines: readonly Line[]): Goal[] {
  return lines.map(({ condition, extraMs }) => ({
    what: `docker exec ${interval(extraMs)} above runc's while ${condition}, less than ${EXTRA_MAX_MS} ms wanted`,
    reached: extraMs.value < EXTRA_MAX_MS,
  }));
}

export function markdown(lines: readonly Line[], goals: readonly Goal[]): string {
  const rows = lines.map(({ condition, runs, runcMs, drayageMs, extraMs }) => [
    condition,
    interval(runcMs),
    interval(drayageMs),
    interval(extraMs),
    runs,
  ]);
  return markdownOf(["While", "`runc`", "`drayage`", "Difference", "Runs of each"], rows, goals);
}

export function chart(lines: readonly Line[]): string {
  return barChart({
    title: "docker exec of a container that nobody migrates",
    scale: "linear",
    groups: lines.map(({ condition, runcMs, drayageMs }) => ({
      title: `While ${condition}`,
      bars: [
        { label: "runc", estimate: runcMs, isOurs: false },
        { label: "drayage", estimate: drayageMs, isOurs: true },
      ],
    })),
    format: duration,
  });
}

function interval({ value, low, high }: Estimate): string {
  return `${value.toFixed(2)} ms (${low.toFixed(2)} to ${high.toFixed(2)})`;
}
