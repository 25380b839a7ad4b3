/** An estimate in words, with its interval. Pure. */
import type { Estimate } from "./bootstrap.ts";

/** "1477 ms (1451 to 1531)". */
export function milliseconds({ value, low, high }: Estimate): string {
  return `${value.toFixed(0)} ms (${low.toFixed(0)} to ${high.toFixed(0)})`;
}

/** Of a share: "14.9 % (14.5 to 15.5)". */
export function percent({ value, low, high }: Estimate): string {
  return `${(100 * value).toFixed(1)} % (${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)})`;
}
