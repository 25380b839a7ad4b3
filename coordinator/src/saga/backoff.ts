/** Back-off between attempts at something that cannot be awaited: 0.2 s, 0.4 s, … 5 s. */
export function backoffMs(attempt: number): number {
  return Math.min(5_000, 200 * 2 ** Math.min(attempt, 10));
}
