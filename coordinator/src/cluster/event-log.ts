/** The cluster's events in etcd, bounded; written by the leader alone. */
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { EtcdPort, Operation } from "@drayage/shared/etcd/etcd-port.ts";
import { encodeRecord } from "@drayage/shared/etcd/records.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { EventRecord } from "@drayage/shared/state/migration.ts";
import type { Leadership } from "../election/leadership.ts";

export interface NewEvent {
  readonly type: string;
  readonly message: string;
  readonly node?: string;
  readonly container?: string;
  readonly migrationId?: string;
}

export interface EventLog {
  /** Writes the event soon; never fails the caller. */
  add(event: NewEvent): void;
}

const EVENTS_KEPT = 1_000;
/** Operations in one transaction; etcd refuses more than 128. */
const BATCH = 100;

export class EtcdEventLog implements EventLog {
  readonly #etcd: EtcdPort;
  readonly #leadership: Leadership;
  readonly #logger: Logger;
  readonly #kept: string[];
  #waiting: EventRecord[] = [];
  #writing: Promise<void> | undefined;
  #sequence = 0;

  private constructor(etcd: EtcdPort, leadership: Leadership, logger: Logger, kept: string[]) {
    this.#etcd = etcd;
    this.#leadership = leadership;
    this.#logger = logger;
    this.#kept = kept;
  }

  static async open(etcd: EtcdPort, leadership: Leadership, logger: Logger): Promise<EtcdEventLog> {
    const snapshot = await etcd.getPrefix(keys.events(), { signal: leadership.lost });
    return new EtcdEventLog(
      etcd,
      leadership,
      logger,
      snapshot.entries.map((entry) => entry.key),
    );
  }

  add(event: NewEvent): void {
    this.#waiting.push({
      atMs: Date.now(),
      type: event.type,
      node: event.node ?? "",
      container: event.container ?? "",
      migrationId: event.migrationId ?? "",
      message: event.message,
    });
    this.#writing ??= this.#drain().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Waits until what was added so far is written or lost. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#leadership.lost.aborted) {
      const batch = this.#waiting.splice(0, BATCH / 2);
      const added = batch.map((record) => ({ key: keys.event(this.#nextId(record.atMs)), record }));
      const surplus = this.#kept.splice(
        0,
        Math.max(0, Math.min(BATCH / 2, this.#kept.length + added.length - EVENTS_KEPT)),
      );
      const operations: Operation[] = [
        ...added.map(({ key, record }): Operation => ({ do: "put", key, value: encodeRecord(EventRecord, record) })),
        ...surplus.map((key): Operation => ({ do: "delete", key })),
      ];
      this.#kept.push(...added.map(({ key }) => key));
      try {
        await this.#etcd.txn(
          { compare: this.#leadership.guard, success: operations },
          { signal: this.#leadership.lost },
        );
      } catch (thrown) {
        // Events are for people; a migration does not wait for one.
        this.#logger.warn({ reason: toDrayError(thrown).reason, lost: batch.length }, "events were not written");
      }
    }
  }

  /** Sorts by time, and within this leader by order. */
  #nextId(atMs: number): string {
    this.#sequence = (this.#sequence + 1) % 1_000_000;
    return `${String(Math.trunc(atMs)).padStart(14, "0")}-${String(this.#leadership.term).padStart(10, "0")}-${String(this.#sequence).padStart(6, "0")}`;
  }
}
