/** The newest state of the migrations that this leader runs, and who follows them. In memory only. */
import type { Progress } from "@drayage/shared/gen/drayage/common/v1/progress.ts";
import type { MigrationRecord } from "@drayage/shared/state/migration.ts";

export interface MigrationState {
  readonly record: MigrationRecord;
  readonly progress: Progress | undefined;
}

export class MigrationFeed {
  readonly #states = new Map<string, MigrationState>();
  readonly #listeners = new Map<string, Set<() => void>>();

  get(id: string): MigrationState | undefined {
    return this.#states.get(id);
  }

  publish(record: MigrationRecord, progress?: Progress): void {
    this.#states.set(record.id, { record, progress });
    for (const wake of this.#listeners.get(record.id) ?? []) wake();
  }

  /** Forgets a migration that has ended; followers see its last state first. */
  forget(id: string): void {
    this.#states.delete(id);
    for (const wake of this.#listeners.get(id) ?? []) wake();
  }

  /**
   * The state now and at every change, slow readers skipping some; ends when
   * the migration is forgotten or the signal fires.
   */
  async *follow(id: string, signal: AbortSignal): AsyncGenerator<MigrationState, void, undefined> {
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners);
    let wake: () => void = () => undefined;
    let changed = true;
    const listener = () => {
      changed = true;
      wake();
    };
    listeners.add(listener);
    signal.addEventListener("abort", listener, { once: true });
    let seen: MigrationState | undefined;
    try {
      while (!signal.aborted) {
        if (!changed) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        changed = false;
        const state = this.#states.get(id);
        if (state === undefined) return;
        if (state !== seen) yield state;
        seen = state;
      }
    } finally {
      signal.removeEventListener("abort", listener);
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(id);
    }
  }
}
