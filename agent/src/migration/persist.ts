/** For what has to happen although nobody may be left to ask for it. */
import { pause } from "@drayage/shared/concurrency/pause.ts";
import { type DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";

const PAUSE_MS = 2_000;

export interface PersistOptions {
  /** Fires when the agent stops; then the next failure is the result. */
  readonly stopping: AbortSignal;
  readonly logger: Logger;
  /** Until the next attempt after this failure; two seconds if not given. */
  readonly pauseMs?: (error: DrayError) => number;
  /** What a failure means, for the log. */
  readonly complaint?: string;
}

/** Tries until it works. Rejects only when the agent stops. */
export async function persist(
  body: () => Promise<void>,
  { stopping, logger, pauseMs = () => PAUSE_MS, complaint = "the migration could not be ended" }: PersistOptions,
): Promise<void> {
  for (;;) {
    try {
      return await body();
    } catch (thrown) {
      if (stopping.aborted) throw thrown;
      const error = toDrayError(thrown);
      logger.error({ err: error }, `${complaint}, trying again`);
      await pause(pauseMs(error), stopping);
    }
  }
}

/** For the end of what nobody awaits: a failure is told, unless the signal has called it off. */
export function complainUnless(signal: AbortSignal, logger: Logger): (thrown: unknown) => void {
  return (thrown) => {
    if (!signal.aborted) logger.error({ err: toDrayError(thrown) }, "the migration could not be ended");
  };
}
