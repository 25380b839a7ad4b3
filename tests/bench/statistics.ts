/** Median and its confidence interval. Pure. */

export interface Summary {
  readonly count: number;
  readonly median: number;
  /** 95 % interval of the median, by order statistics: makes no assumption about the distribution. */
  readonly low: number;
  readonly high: number;
}

export function median(values: readonly number[]): number {
  return quantileOf(sorted(values), 0.5);
}

/** RangeError if there are no values. With fewer than six values the interval is the whole range. */
export function summarise(values: readonly number[]): Summary {
  const ordered = sorted(values);
  const rank = intervalRank(ordered.length);
  return {
    count: ordered.length,
    median: quantileOf(ordered, 0.5),
    low: ordered[rank] as number,
    high: ordered[ordered.length - 1 - rank] as number,
  };
}

/** The largest r such that the r-th smallest and r-th largest enclose the median with at least 95 % probability. */
function intervalRank(count: number): number {
  let tail = 0.5 ** count;
  let term = tail;
  let rank = 0;
  while (rank < count / 2) {
    term = (term * (count - rank)) / (rank + 1);
    if (tail + term > 0.025) break;
    tail += term;
    rank += 1;
  }
  return tail > 0.025 ? 0 : Math.min(rank, Math.floor((count - 1) / 2));
}

function quantileOf(ordered: readonly number[], share: number): number {
  const place = (ordered.length - 1) * share;
  const below = ordered[Math.floor(place)] as number;
  const above = ordered[Math.ceil(place)] as number;
  return below + (above - below) * (place - Math.floor(place));
}

function sorted(values: readonly number[]): number[] {
  if (values.length === 0) throw new RangeError("no values to summarise");
  return [...values].sort((a, b) => a - b);
}
