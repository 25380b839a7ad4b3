/** Back-off between attempts at something that cannot be awaited. Returns early when the signal fires. */
import { setTimeout as delay } from "node:timers/promises";

export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  // The only error is the signal's; callers look at the signal.
  await delay(ms, undefined, { signal }).catch(() => undefined);
}

/** 0.2 s, 0.4 s, … 5 s. */
export function backoffMs(attempt: number): number {
  return Math.min(5_000, 200 * 2 ** Math.min(attempt, 10));
}
