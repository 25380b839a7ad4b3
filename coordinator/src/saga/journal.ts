/**
 * The record of one migration in the hands of the leader that runs it.
 *
 * INVARIANT: only one leader writes, and each write compares its election key;
 * so the copy in memory is the record, and a refused write means that this
 * leader is none any more.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { EtcdPort, Operation } from "@drayage/shared/etcd/etcd-port.ts";
import { compareAndSwap, encodeRecord } from "@drayage/shared/etcd/records.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import type { Progress } from "@drayage/shared/gen/drayage/common/v1/progress.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { MigrationRecord } from "@drayage/shared/state/migration.ts";
import type { Leadership } from "../election/leadership.ts";
import type { MigrationFeed } from "./feed.ts";

/** Longer than any leadership lasts without etcd: the loss of it ends the wait for a verdict. */
export const VERDICT_DEADLINE_MS = 120_000;

export class Journal {
  readonly #etcd: EtcdPort;
  readonly #leadership: Leadership;
  readonly #feed: MigrationFeed;
  #record: MigrationRecord;
  #progress: Progress | undefined;
  #writes: Promise<void> = Promise.resolve();

  constructor(etcd: EtcdPort, leadership: Leadership, feed: MigrationFeed, record: MigrationRecord) {
    this.#etcd = etcd;
    this.#leadership = leadership;
    this.#feed = feed;
    this.#record = record;
    feed.publish(record);
  }

  get record(): MigrationRecord {
    return this.#record;
  }

  /**
   * Changes the record in memory and tells those who follow; the next write makes it durable. With a phase begins
   * its own progress.
   */
  note(change: Partial<MigrationRecord>): void {
    if (change.phase !== undefined) this.#progress = undefined;
    this.#record = { ...this.#record, ...change };
    this.#feed.publish(this.#record, this.#progress);
  }

  /** Where the present phase is; never written. */
  progress(progress: Progress | undefined): void {
    this.#progress = progress;
    this.#feed.publish(this.#record, progress);
  }

  /**
   * Makes a change durable, with further operations in the same transaction,
   * and only then tells those who follow. NOT_LEADER when refused.
   */
  async write(point: string, change: Partial<MigrationRecord>, alsoDo: readonly Operation[] = []): Promise<void> {
    // One after the other, so that an older state never overwrites a newer one.
    const write = this.#writes.then(() => this.#persist(point, change, alsoDo));
    this.#writes = write.catch(() => undefined);
    await write;
  }

  /** The put of the present record, for transactions that change more than it. */
  operation(): Operation {
    return { do: "put", key: keys.migration(this.#record.id), value: encodeRecord(MigrationRecord, this.#record) };
  }

  async #persist(point: string, change: Partial<MigrationRecord>, alsoDo: readonly Operation[]): Promise<void> {
    await faultPoint(`saga.before-${point}`);
    // The same at each attempt, whatever is noted meanwhile: an earlier one that lands late is known by its value.
    const next = { ...this.#record, ...change };
    const result = await compareAndSwap(this.#etcd, MigrationRecord, keys.migration(this.#record.id), () => next, {
      compares: this.#leadership.guard,
      alsoDo,
      signal: this.#leadership.lost,
      deadlineMs: VERDICT_DEADLINE_MS,
    });
    if (!result.applied)
      throw new DrayError("NOT_LEADER", `the record of migration ${this.#record.id} belongs to another leader`);
    this.note(change);
    await faultPoint(`saga.after-${point}`);
  }
}
