/** From the samples of the memory benchmark to what is said of them. Pure. */
import { barChart, duration } from "../bar-chart.ts";
import { bootstrapMedian, type Estimate } from "../bootstrap.ts";
import { milliseconds } from "../estimate-text.ts";
import { type Goal, markdownOf } from "../markdown.ts";

export const CONTENTS = ["noise", "half", "zeros"] as const;
export const CHANGES = ["none", "tenth", "full"] as const;
export const MODES = ["stop-copy", "auto", "post-copy"] as const;

export interface Case {
  readonly content: (typeof CONTENTS)[number];
  readonly change: (typeof CHANGES)[number];
  readonly mode: (typeof MODES)[number];
}

export interface Sample extends Case {
  readonly run: number;
  readonly megabytes: number;
  /** The mode that it came to. */
  readonly took: string;
  readonly downtimeMs: number;
  readonly totalMs: number;
  readonly wireBytes: number;
  /** Processor time of the agents. */
  readonly sourceCpuMs: number;
  readonly destinationCpuMs: number;
  /** The larger of their largest resident sets. */
  readonly peakBytes: number;
}

export interface Line extends Case {
  readonly megabytes: number;
  readonly runs: number;
  readonly took: string;
  readonly downtimeMs: Estimate;
  readonly totalMs: Estimate;
  /** Medians; the times per GiB of the container's memory. */
  readonly wireBytes: number;
  readonly sourceCpuMs: number;
  readonly destinationCpuMs: number;
}

const PEAK_MAX_BYTES = 300e6;
const MIB = 2 ** 20;
const CONTENT_NAMES = { noise: "noise", half: "half compressible", zeros: "nearly all zero" } as const;
const CHANGE_NAMES = { none: "at rest", tenth: "a tenth a second", full: "400 MB a second" } as const;

export function summarise(samples: readonly Sample[]): Line[] {
  return CONTENTS.flatMap((content) =>
    CHANGES.flatMap((change) =>
      MODES.flatMap((mode) => {
        const of = samples.filter((s) => s.content === content && s.change === change && s.mode === mode);
        const megabytes = of[0]?.megabytes;
        if (megabytes === undefined) return [];
        const median = (value: (sample: Sample) => number) => bootstrapMedian(of.map(value));
        const perGib = (ms: number) => (ms * 1024) / megabytes;
        return {
          content,
          change,
          mode,
          megabytes,
          runs: of.length,
          took: [...new Set(of.map(({ took }) => took))].join(", "),
          downtimeMs: median(({ downtimeMs }) => downtimeMs),
          totalMs: median(({ totalMs }) => totalMs),
          wireBytes: median(({ wireBytes }) => wireBytes).value,
          sourceCpuMs: perGib(median(({ sourceCpuMs }) => sourceCpuMs).value),
          destinationCpuMs: perGib(median(({ destinationCpuMs }) => destinationCpuMs).value),
        };
      }),
    ),
  );
}

export function judge(samples: readonly Sample[]): Goal[] {
  if (samples.length === 0) return [];
  const peak = Math.max(...samples.map(({ peakBytes }) => peakBytes));
  const what = `largest resident set of an agent: ${(peak / 1e6).toFixed(0)} MB, less than ${PEAK_MAX_BYTES / 1e6} wanted`;
  return [{ what, reached: peak < PEAK_MAX_BYTES }];
}

export function markdown(lines: readonly Line[], goals: readonly Goal[]): string {
  const rows = lines.map(({ content, change, mode, took, downtimeMs, totalMs, ...line }) => [
    `${CONTENT_NAMES[content]}, ${line.megabytes} MB`,
    CHANGE_NAMES[change],
    took === mode ? mode : `${mode}: ${took}`,
    milliseconds(downtimeMs),
    milliseconds(totalMs),
    `${(line.wireBytes / MIB).toFixed(0)} MiB`,
    `${(line.sourceCpuMs / 1000).toFixed(2)} s`,
    `${(line.destinationCpuMs / 1000).toFixed(2)} s`,
    line.runs,
  ]);
  return markdownOf(
    [
      "Memory",
      "Rewritten",
      "Mode",
      "Downtime",
      "Total",
      "On the wire",
      "Agent's processor time per GiB, source",
      "destination",
      "Runs",
    ],
    rows,
    goals,
  );
}

export function chart(lines: readonly Line[]): string {
  const places = [...new Set(lines.map(({ content, change }) => `${CONTENT_NAMES[content]}, ${CHANGE_NAMES[change]}`))];
  return barChart({
    title: "Downtime by what is in memory, and how fast it changes",
    scale: "logarithmic",
    groups: places.map((title) => ({
      title,
      bars: lines
        .filter(({ content, change }) => title === `${CONTENT_NAMES[content]}, ${CHANGE_NAMES[change]}`)
        .map(({ mode, downtimeMs }) => ({ label: mode, estimate: downtimeMs, isOurs: mode !== "stop-copy" })),
    })),
    format: duration,
  });
}
