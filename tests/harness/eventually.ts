/** Waiting for something that only can be asked for again and again. */
import { setTimeout as sleep } from "node:timers/promises";

export interface Patience {
  /** What is waited for, for the error. */
  readonly what: string;
  readonly deadlineMs: number;
  readonly everyMs?: number;
  readonly signal?: AbortSignal;
}

/** The first answer that is not undefined. Errors of `ask` count as "not yet"; the last one is the cause in the end. */
export async function eventually<T>(ask: () => Promise<T | undefined>, patience: Patience): Promise<T> {
  const endsAt = performance.now() + patience.deadlineMs;
  let cause: unknown;
  for (;;) {
    patience.signal?.throwIfAborted();
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= endsAt) {
      throw new Error(`not within ${patience.deadlineMs} ms: ${patience.what}`, { cause });
    }
    await sleep(patience.everyMs ?? 100, undefined, patience.signal ? { signal: patience.signal } : {});
  }
}
