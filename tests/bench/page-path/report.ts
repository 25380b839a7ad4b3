/** From the samples of the page path to what is said of them. Pure. */
import { barChart } from "../bar-chart.ts";
import { bootstrapMedian, bootstrapPair, type Estimate } from "../bootstrap.ts";
import { type Goal, markdownOf } from "../markdown.ts";
import type { Way } from "./peer.ts";

export const WAYS: readonly Way[] = ["raw", "page", "raw-store", "page-store"];
/** What a way is compared with. */
const BASES: Readonly<Record<Way, Way>> = {
  raw: "raw",
  page: "raw",
  "raw-store": "raw-store",
  "page-store": "raw-store",
};
const NAMES: Readonly<Record<Way, string>> = {
  raw: "`node:tls`",
  page: "page path",
  "raw-store": "`node:tls`",
  "page-store": "page path",
};
const FATES: Readonly<Record<Way, string>> = {
  raw: "thrown away",
  page: "thrown away",
  "raw-store": "written to tmpfs",
  "page-store": "written to tmpfs",
};
/** Least share of the plain socket's speed for noise. */
const RATIO_MIN = 0.8;

export interface Sample {
  readonly way: Way;
  readonly round: number;
  readonly mibPerSecond: number;
  /** Processor time, milliseconds per GiB: of the whole process, and of its main thread alone. */
  readonly senderCpuMs: number;
  readonly senderMainCpuMs: number;
  readonly receiverCpuMs: number;
  readonly receiverMainCpuMs: number;
}

export interface Line {
  readonly way: Way;
  readonly rounds: number;
  readonly mibPerSecond: Estimate;
  /** To the plain socket that does the same with what arrives. */
  readonly ratio: Estimate;
  readonly senderCpuMs: Estimate;
  readonly senderMainCpuMs: Estimate;
  readonly receiverCpuMs: Estimate;
  readonly receiverMainCpuMs: Estimate;
}

export function summarise(samples: readonly Sample[]): Line[] {
  const of = (way: Way, value: (sample: Sample) => number) =>
    samples.filter((sample) => sample.way === way).map((sample) => value(sample));
  const rate = ({ mibPerSecond }: Sample) => mibPerSecond;
  return WAYS.map((way) => ({
    way,
    rounds: of(way, rate).length,
    mibPerSecond: bootstrapMedian(of(way, rate)),
    ratio: bootstrapPair(of(way, rate), of(BASES[way], rate), (ours, theirs) => ours / theirs),
    senderCpuMs: bootstrapMedian(of(way, ({ senderCpuMs }) => senderCpuMs)),
    senderMainCpuMs: bootstrapMedian(of(way, ({ senderMainCpuMs }) => senderMainCpuMs)),
    receiverCpuMs: bootstrapMedian(of(way, ({ receiverCpuMs }) => receiverCpuMs)),
    receiverMainCpuMs: bootstrapMedian(of(way, ({ receiverMainCpuMs }) => receiverMainCpuMs)),
  }));
}

export function judge(lines: readonly Line[]): Goal[] {
  return lines
    .filter(({ way }) => way === "page")
    .map(({ ratio }) => ({
      what: `page path: ${percent(ratio)} of a plain TLS socket, at least ${100 * RATIO_MIN} % wanted`,
      reached: ratio.value >= RATIO_MIN,
    }));
}

export function markdown(lines: readonly Line[], goals: readonly Goal[]): string {
  const rows = lines.map(({ way, mibPerSecond, ratio, ...cpu }) => [
    NAMES[way],
    FATES[way],
    mibPerSecond.value.toFixed(0),
    BASES[way] === way ? "" : percent(ratio),
    `${seconds(cpu.senderCpuMs)}, ${seconds(cpu.senderMainCpuMs)}`,
    `${seconds(cpu.receiverCpuMs)}, ${seconds(cpu.receiverMainCpuMs)}`,
  ]);
  return markdownOf(
    [
      "Way",
      "What arrives is",
      "MiB/s",
      "Of the plain socket",
      "Processor time per GiB, sender: process, its main thread",
      "receiver",
    ],
    rows,
    goals,
  );
}

export function chart(lines: readonly Line[]): string {
  const group = (fate: string) => ({
    title: `What arrives is ${fate}`,
    bars: lines
      .filter(({ way }) => FATES[way] === fate)
      .map(({ way, mibPerSecond }) => ({
        label: NAMES[way].replaceAll("`", ""),
        estimate: mibPerSecond,
        isOurs: BASES[way] !== way,
      })),
  });
  return barChart({
    title: "The page path beside a plain TLS socket",
    scale: "linear",
    groups: [...new Set(lines.map(({ way }) => FATES[way]))].map(group),
    format: (value) => `${value.toFixed(0)} MiB/s`,
  });
}

function percent({ value, low, high }: Estimate): string {
  return `${(100 * value).toFixed(0)} % (${(100 * low).toFixed(0)} to ${(100 * high).toFixed(0)})`;
}

function seconds({ value }: Estimate): string {
  return `${(value / 1000).toFixed(2)} s`;
}
