/** Waiting for states that the kernel or a program reaches by itself. */
import { setTimeout as delay } from "node:timers/promises";
import { LabError } from "../errors.ts";

export interface WaitOptions {
  readonly what: string;
  readonly deadlineMs: number;
  readonly everyMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks until an answer other than undefined comes. For states that announce
 * themselves by no event that a program on the host could await.
 */
export async function waitFor<T>(ask: () => Promise<T | undefined>, options: WaitOptions): Promise<T> {
  const endMs = performance.now() + options.deadlineMs;
  for (;;) {
    options.signal?.throwIfAborted();
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > endMs) {
      throw new LabError("timeout", `${options.what}: not within ${Math.round(options.deadlineMs / 1000)} s`);
    }
    await delay(options.everyMs ?? 50, undefined, options.signal ? { signal: options.signal } : {});
  }
}
