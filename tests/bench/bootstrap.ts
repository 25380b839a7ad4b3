/** Bootstrap intervals of a median, and of a statistic of two series measured in turns. Pure: the same values give the same interval. */
import { median } from "./statistics.ts";

const RESAMPLES = 4000;
const TAIL = 0.025;

export interface Estimate {
  readonly value: number;
  /** 95 % interval by the percentiles of the resampled statistic. */
  readonly low: number;
  readonly high: number;
}

export function bootstrapMedian(values: readonly number[]): Estimate {
  return bootstrap(values.length, (indices) => median(indices.map((index) => values[index] as number)));
}

/** A statistic of the medians of two series; runs are drawn together, because what disturbs one disturbs the other. */
export function bootstrapPair(
  one: readonly number[],
  other: readonly number[],
  statistic: (one: number, other: number) => number,
): Estimate {
  if (one.length !== other.length) throw new RangeError("the series are not of the same runs");
  const of = (values: readonly number[], indices: readonly number[]) =>
    median(indices.map((index) => values[index] as number));
  return bootstrap(one.length, (indices) => statistic(of(one, indices), of(other, indices)));
}

function bootstrap(count: number, statistic: (indices: readonly number[]) => number): Estimate {
  if (count === 0) throw new RangeError("no values");
  const random = mulberry32(count);
  const resampled: number[] = [];
  for (let n = 0; n < RESAMPLES; n++) {
    resampled.push(statistic(Array.from({ length: count }, () => Math.floor(random() * count))));
  }
  resampled.sort((a, b) => a - b);
  const at = (share: number) => resampled[Math.round(share * (RESAMPLES - 1))] as number;
  return { value: statistic(Array.from({ length: count }, (_, index) => index)), low: at(TAIL), high: at(1 - TAIL) };
}

/** A small seeded generator: intervals must not change from one look at the same numbers to the next. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
