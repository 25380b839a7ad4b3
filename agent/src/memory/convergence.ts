/**
 * When to stop copying memory that changes meanwhile. Pure.
 *
 * Of a round it is known what it has sent and how long it took. What a final pass would have to send is estimated from
 * that: as much as was found changed since the round before, at the rate at which it had changed, over the time that
 * this round took. Divided by the measured bandwidth, and with the fixed costs of a switch, that is the downtime to be
 * expected.
 *
 *   after each round:  expected ≤ wanted ──────────────► switch
 *                      rounds no longer pay, or too many ─► give way: throttle, go over to post-copy, switch all the
 *                                                          same, or give up, as the mode and the operator say
 *                      else ──────────────────────────► another round
 */

export interface Round {
  /** Bytes of the pages that were sent. */
  readonly sentBytes: number;
  readonly durationMs: number;
  /** What of it went into sending, not into looking for what has changed. */
  readonly sendingMs: number;
}

export interface Target {
  /** Downtime to aim for, milliseconds; null if nobody has said: then what the memory adds to it should not be felt. */
  readonly maxDowntimeMs: number | null;
  /** What a switch takes besides sending what has changed, milliseconds. */
  readonly fixedMs: number;
}

export interface Estimate {
  /** Of memory, bytes a second. */
  readonly dirtyBytesPerSecond: number;
  /** Of memory as it would be sent, bytes a second. */
  readonly bytesPerSecond: number;
  /** What a final pass would have to send now, bytes. */
  readonly remainingBytes: number;
  readonly downtimeMs: number;
}

export type Verdict =
  | { readonly kind: "switch"; readonly estimate: Estimate }
  | { readonly kind: "round"; readonly estimate: Estimate }
  /** More rounds bring nothing: `why` says which limit was reached. */
  | { readonly kind: "stalled"; readonly why: "rounds-do-not-pay" | "too-many-rounds"; readonly estimate: Estimate };

/** After these the memory does not get any smaller, whatever the estimate says. */
export const MOST_ROUNDS = 16;
/** A round pays if it leaves less than this share of what was left before it. */
const PAYS_SHARE = 0.8;
/** What memory may add to the downtime when nobody has said how long that may be. */
const UNNOTICED_MS = 50;
/** A round that had nothing to do says nothing about the bandwidth. */
const LEAST_BYTES = 64 * 1024;

/** What the rounds so far, the first of which has sent everything, let expect. */
export function estimate(rounds: readonly Round[], target: Target): Estimate {
  const last = rounds.at(-1);
  if (last === undefined) throw new RangeError("no round has been made");
  const bytesPerSecond = bandwidthOf(rounds);
  const before = rounds.at(-2);
  // Of the first round nothing is known about changes: what it took long for has had long to change.
  const dirtyBytesPerSecond = before === undefined ? 0 : (last.sentBytes / Math.max(1, before.durationMs)) * 1000;
  const changedMeanwhile = (dirtyBytesPerSecond * last.durationMs) / 1000;
  const remainingBytes = before === undefined ? last.sentBytes : Math.min(changedMeanwhile, last.sentBytes);
  return {
    dirtyBytesPerSecond,
    bytesPerSecond,
    remainingBytes,
    downtimeMs: target.fixedMs + (remainingBytes / bytesPerSecond) * 1000,
  };
}

export function decide(rounds: readonly Round[], target: Target): Verdict {
  const now = estimate(rounds, target);
  // The first round sends everything; how much of that is changed soon, only a second one shows.
  if (rounds.length < 2) return { kind: "round", estimate: now };
  const memoryMs = now.downtimeMs - target.fixedMs;
  const wantedMs = target.maxDowntimeMs === null ? target.fixedMs + UNNOTICED_MS : target.maxDowntimeMs;
  if (now.downtimeMs <= wantedMs || (target.maxDowntimeMs === null && memoryMs <= UNNOTICED_MS)) {
    return { kind: "switch", estimate: now };
  }
  if (rounds.length >= MOST_ROUNDS) return { kind: "stalled", why: "too-many-rounds", estimate: now };
  const before = estimate(rounds.slice(0, -1), target);
  if (now.remainingBytes > before.remainingBytes * PAYS_SHARE) {
    return { kind: "stalled", why: "rounds-do-not-pay", estimate: now };
  }
  return { kind: "round", estimate: now };
}

/** Of memory, not on the wire: memory is what remains. By the last round that has sent enough to tell. */
function bandwidthOf(rounds: readonly Round[]): number {
  const telling = rounds.findLast(({ sentBytes }) => sentBytes >= LEAST_BYTES) ?? rounds[0];
  const { sentBytes, sendingMs } = telling as Round;
  return Math.max(1, (sentBytes / Math.max(1, sendingMs)) * 1000);
}
