/**
 * Slows a container down, so that its memory changes less: its freezer is shut for a share of each tenth of a second.
 * That works whatever controllers its cgroup has, holds for all of its threads alike, and leaves its limits as they
 * are.
 *
 * Nothing durable tells of it: an agent that is killed in a shut moment leaves the container frozen, and the recovery
 * of the next one opens it (source-revive.ts).
 */
import { setTimeout as pause } from "node:timers/promises";
import { freezeCgroup, thawCgroup, thawCgroupNow, whileFrozen } from "../host/cgroup.ts";

/** Shares of the time for which the container stands still, one after the other. */
const STEPS = [0.2, 0.4, 0.6, 0.8, 0.9] as const;
const CYCLE_MS = 100;
const FREEZER_MS = 5000;
/** From the last step on. */
const LONGEST_MS = 120_000;

export class Throttle {
  readonly #cgroup: string;
  readonly #ending = new AbortController();
  #step = -1;
  #cycling: Promise<void> | undefined;
  #limit: NodeJS.Timeout | undefined;
  /** While somebody else has the freezer. */
  #held: Promise<unknown> = Promise.resolve();
  /** While it is shut from here. */
  #shut: Promise<unknown> = Promise.resolve();

  /** Does nothing yet. With `stopping` this process ends: the freezer is opened at once then. */
  constructor(cgroup: string, stopping: AbortSignal) {
    this.#cgroup = cgroup;
    stopping.addEventListener("abort", () => this.#letGo(), { once: true });
  }

  /** Share of the time for which it stands still; 0 before the first step. */
  get share(): number {
    return STEPS[this.#step] ?? 0;
  }

  /** One step slower. False if there is none any more. */
  tighten(): boolean {
    if (this.#step + 1 >= STEPS.length || this.#ending.signal.aborted) return false;
    this.#step++;
    this.#cycling ??= this.#cycle();
    clearTimeout(this.#limit);
    // Whoever has asked for it may be gone; what is wanted is a switch, which comes soon after the last round.
    this.#limit = setTimeout(() => void this.release(), LONGEST_MS);
    return true;
  }

  /** As `whileFrozen` of its cgroup; nothing here opens the freezer in between, unless this process ends. */
  async still<T>(body: () => Promise<T>): Promise<T> {
    const held = Promise.withResolvers<void>();
    this.#held = held.promise;
    try {
      await this.#shut;
      return await whileFrozen(this.#cgroup, { deadlineMs: FREEZER_MS }, body);
    } finally {
      held.resolve();
    }
  }

  /** As fast as before, whatever happened; returns when the freezer is open. Idempotent. */
  async release(): Promise<void> {
    clearTimeout(this.#limit);
    this.#ending.abort();
    await this.#cycling;
  }

  /** Nobody may be left to await anything. */
  #letGo(): void {
    if (this.#cycling === undefined || this.#ending.signal.aborted) return;
    this.#ending.abort();
    clearTimeout(this.#limit);
    thawCgroupNow(this.#cgroup);
  }

  async #shutFor(durationMs: number, signal: AbortSignal): Promise<void> {
    try {
      await freezeCgroup(this.#cgroup, { deadlineMs: FREEZER_MS });
      await pause(durationMs, undefined, { signal });
    } catch {
      // Called off, or a task that cannot be frozen now: the next turn may do.
    } finally {
      await thawCgroup(this.#cgroup, { deadlineMs: FREEZER_MS }).catch(() => undefined);
    }
  }

  async #cycle(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      // Somebody may have taken it while this waited.
      for (let held: unknown; held !== this.#held; ) {
        held = this.#held;
        await this.#held;
      }
      this.#shut = this.#shutFor(CYCLE_MS * this.share, signal);
      await this.#shut;
      await pause(CYCLE_MS * (1 - this.share), undefined, { signal }).catch(() => undefined);
    }
  }
}
