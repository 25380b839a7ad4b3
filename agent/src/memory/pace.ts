/** The share of one processor that work takes which is done in pieces, whatever it waits for in between. */
import { setImmediate as othersTurn, setTimeout as pause } from "node:timers/promises";

export interface PaceClock {
  /** Milliseconds; never goes back. */
  now(): number;
  /** Others have their turn meanwhile, also if it is for no time. Rejects when the signal is aborted. */
  pause(durationMs: number, signal: AbortSignal): Promise<void>;
}

const SYSTEM_CLOCK: PaceClock = {
  now: () => performance.now(),
  pause: (durationMs, signal) =>
    durationMs === 0 ? othersTurn(undefined, { signal }) : pause(durationMs, undefined, { signal }),
};

/** Rests as long as it takes to keep the share of time that is spent working, and lets others have their turn. */
export class Pace {
  static readonly LONGEST_WORK_MS = 5;
  /** Timers are no finer. What is left out is owed. */
  static readonly SHORTEST_REST_MS = 1;
  readonly #share: number;
  readonly #clock: PaceClock;
  #workedMs = 0;
  /** Worked and rested in all. */
  totalMs = 0;
  /** From then on what was worked has to be rested from; may be in the future. */
  #owedFrom: number;

  constructor(share: number, clock = SYSTEM_CLOCK) {
    this.#share = share;
    this.#clock = clock;
    this.#owedFrom = clock.now();
  }

  work<T>(body: () => T): T {
    const beganAt = this.#clock.now();
    try {
      return body();
    } finally {
      const workedMs = this.#clock.now() - beganAt;
      this.#workedMs += workedMs;
      this.totalMs += workedMs;
    }
  }

  /** Waiting for the network meanwhile counts as rest. */
  async turn(signal: AbortSignal): Promise<void> {
    if (this.#workedMs < Pace.LONGEST_WORK_MS) return;
    const paidAt = this.#owedFrom + this.#workedMs / this.#share;
    const owedMs = paidAt - this.#clock.now();
    const restMs = owedMs < Pace.SHORTEST_REST_MS ? 0 : owedMs;
    this.totalMs += restMs;
    await this.#clock.pause(restMs, signal);
    this.#workedMs = 0;
    // Who has rested for longer has not earned anything by it.
    this.#owedFrom = Math.max(paidAt, this.#clock.now());
  }
}
