/**
 * A lease whose holder knows in time that it may be gone.
 *
 * etcd counts the time to live from when it handles a keepalive; the holder
 * counts from when it *sent* the last one that was acknowledged, which is
 * earlier, and gives up at two thirds. So the holder stops before etcd lets
 * anyone else in, whatever the client library or the network does.
 */
import { DrayError } from "../errors/dray-error.ts";
import { BOOT_CLOCK_STEP_MS, bootTimeMs } from "./boot-clock.ts";

export interface Lease {
  /** Decimal id, for puts. */
  readonly id: string;
  readonly ttlSeconds: number;
  /** Fires once, when the lease is revoked, expired, or can no longer be trusted. */
  readonly lost: AbortSignal;
  /** Reads the clock now: false from the guard's limit on, even if `lost` has had no turn to fire. */
  held(): boolean;
  /** Gives the lease back; all its keys go. Never throws: an unreachable etcd lets it expire. */
  revoke(): Promise<void>;
}

/** What the guard needs of etcd. */
export interface LeaseCalls {
  /** Sends one keepalive; the time to live that remains in seconds, 0 if the lease is gone. */
  keepAlive(leaseId: string, deadlineMs: number): Promise<number>;
  revoke(leaseId: string): Promise<void>;
}

/** Part of the time to live after which the holder no longer trusts the lease. */
export const GUARD_FRACTION = 2 / 3;
const KEEPALIVE_FRACTION = 1 / 6;
const RETRY_MS = 200;

export class GuardedLease implements Lease {
  readonly id: string;
  readonly ttlSeconds: number;
  readonly #calls: LeaseCalls;
  readonly #clock: () => number;
  readonly #lost = new AbortController();
  #confirmedAtMs: number;
  #guardTimer: NodeJS.Timeout | undefined;
  #keepAliveTimer: NodeJS.Timeout | undefined;

  /** @param sentAtMs boot time at which the grant was sent */
  constructor(calls: LeaseCalls, id: string, ttlSeconds: number, sentAtMs: number, clock: () => number = bootTimeMs) {
    this.#calls = calls;
    this.id = id;
    this.ttlSeconds = ttlSeconds;
    this.#clock = clock;
    this.#confirmedAtMs = sentAtMs;
    this.#armGuard();
    this.#scheduleKeepAlive(this.#periodMs);
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  held(): boolean {
    if (!this.lost.aborted && this.#remainingMs() <= 0) this.#lose("no keepalive was acknowledged in time");
    return !this.lost.aborted;
  }

  async revoke(): Promise<void> {
    const wasHeld = !this.lost.aborted;
    this.#lose("revoked");
    if (!wasHeld) return;
    // Out of reach, the lease ends by itself after its time to live: nothing to tell the caller.
    await this.#calls.revoke(this.id).catch(() => undefined);
  }

  get #periodMs(): number {
    return this.ttlSeconds * 1000 * KEEPALIVE_FRACTION;
  }

  #remainingMs(): number {
    const guardMs = this.ttlSeconds * 1000 * GUARD_FRACTION;
    return this.#confirmedAtMs + guardMs - BOOT_CLOCK_STEP_MS - this.#clock();
  }

  #armGuard(): void {
    clearTimeout(this.#guardTimer);
    this.#guardTimer = setTimeout(
      () => {
        if (this.held()) this.#armGuard();
      },
      Math.max(0, this.#remainingMs()),
    );
  }

  #scheduleKeepAlive(delayMs: number): void {
    clearTimeout(this.#keepAliveTimer);
    this.#keepAliveTimer = setTimeout(() => {
      if (!this.held()) return;
      // The next is sent whether or not this one is answered in time: a slow
      // answer counts as long as the guard's limit is not reached.
      this.#scheduleKeepAlive(this.#periodMs);
      void this.#keepAlive();
    }, delayMs);
  }

  async #keepAlive(): Promise<void> {
    const sentAtMs = this.#clock();
    try {
      const remaining = await this.#calls.keepAlive(this.id, Math.max(1, this.#remainingMs()));
      if (remaining <= 0) return this.#lose("etcd says that the lease is gone");
      if (!this.held()) return;
      this.#confirmedAtMs = Math.max(this.#confirmedAtMs, sentAtMs);
      this.#armGuard();
    } catch {
      // The guard decides when missed keepalives are too many.
      if (this.held()) this.#scheduleKeepAlive(Math.min(RETRY_MS, this.#periodMs));
    }
  }

  #lose(why: string): void {
    if (this.lost.aborted) return;
    clearTimeout(this.#guardTimer);
    clearTimeout(this.#keepAliveTimer);
    this.#lost.abort(new DrayError("ETCD_UNAVAILABLE", `lease lost: ${why}`));
  }
}
