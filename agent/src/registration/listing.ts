/** How the rest of the agent makes sure that the cluster sees this host's containers as they are now. */
import { setTimeout as delay } from "node:timers/promises";

/** Nothing may hang on it: a node that cannot be seen now will be when etcd answers. */
const LIMIT_MS = 5_000;

export class Listing {
  readonly #limitMs: number;
  #publish: (() => Promise<void>) | undefined;

  constructor(limitMs: number = LIMIT_MS) {
    this.#limitMs = limitMs;
  }

  /** From now on by `publish`, which resolves when etcd has what Docker says after the call; undefined when the node is not in the cluster. */
  by(publish: (() => Promise<void>) | undefined): void {
    this.#publish = publish;
  }

  /** Resolves when the cluster sees what Docker says now; without an error also if that cannot be had at present. */
  async upToDate(): Promise<void> {
    if (this.#publish === undefined) return;
    const waiting = new AbortController();
    const limit = delay(this.#limitMs, undefined, { signal: waiting.signal }).catch(() => undefined);
    // A failure is told, and tried again, by whoever publishes.
    await Promise.race([this.#publish().catch(() => undefined), limit]);
    waiting.abort();
  }
}
