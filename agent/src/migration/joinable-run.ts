/**
 * A long piece of work that several callers may join: the order that began it
 * may come again from the next leader, and must find the same work, not start
 * it twice. Each caller follows the progress and gets the one result.
 */
import type { Progress } from "@drayage/shared/gen/drayage/common/v1/progress.ts";

/** `round` and `decision` where there is one. */
export type Report = (progress: Omit<Progress, "round" | "decision"> & Partial<Progress>) => void;

export class JoinableRun<T> {
  private readonly controller = new AbortController();
  private readonly listeners = new Set<(progress: Progress) => void>();
  private latest: Progress | undefined;
  private hasEnded = false;
  /** Settles with the work. */
  readonly result: Promise<T>;

  constructor(body: (report: Report, signal: AbortSignal) => Promise<T>) {
    this.result = body((progress) => this.report(progress), this.controller.signal);
    const ended = () => {
      this.hasEnded = true;
    };
    this.result.then(ended, ended);
    // Callers may come later, or never: a rejection is theirs to see, not the process's to die of.
    this.result.catch(() => undefined);
  }

  /** Makes the work end early; returns when it has. What it has left behind when it ended before is not touched. */
  async cancel(reason: Error): Promise<void> {
    if (!this.hasEnded) this.controller.abort(reason);
    await this.result.catch(() => undefined);
  }

  /** Progress from now on (the latest first), then the result. A caller that leaves ends nothing but its own view. */
  async *follow(signal: AbortSignal): AsyncGenerator<Progress, T> {
    const queue: Progress[] = this.latest === undefined ? [] : [this.latest];
    let wake: () => void = () => undefined;
    let settled = false;
    const listener = (progress: Progress) => {
      queue.push(progress);
      wake();
    };
    const end = () => {
      settled = true;
      wake();
    };
    this.listeners.add(listener);
    signal.addEventListener("abort", end, { once: true });
    this.result.then(end, end);
    try {
      for (;;) {
        signal.throwIfAborted();
        const next = queue.shift();
        if (next !== undefined) {
          yield next;
        } else if (settled) {
          return await this.result;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      this.listeners.delete(listener);
      signal.removeEventListener("abort", end);
    }
  }

  private report(told: Parameters<Report>[0]): void {
    const progress: Progress = { round: undefined, decision: "", ...told };
    // Who joins later hears where it is; what has ended is in the result.
    this.latest = { ...progress, round: undefined, decision: "" };
    for (const listener of this.listeners) listener(progress);
  }
}
