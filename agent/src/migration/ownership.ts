/**
 * The agent's own transactions on the owner key, and the watch for a verdict.
 * See shared/src/state/owner.ts for the rule.
 */
import { pause } from "@drayage/shared/concurrency/pause.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { changeOwner } from "@drayage/shared/etcd/change-owner.ts";
import type { EtcdPort, KeyValue } from "@drayage/shared/etcd/etcd-port.ts";
import { decodeRecord, readRecord } from "@drayage/shared/etcd/records.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { MigrationRecord } from "@drayage/shared/state/migration.ts";
import { abort, confirmRunning, giveBack, OwnerRecord } from "@drayage/shared/state/owner.ts";

const RETRY_MS = 500;

/** What the owner key says of a migration that runs in epoch E. */
export type Verdict =
  /** Not decided: the source owns epoch E. */
  | { readonly kind: "open"; readonly entered: boolean }
  /** The source owns epoch E+1, or E+2 if the destination has given the container back: it may run on. */
  | { readonly kind: "aborted"; readonly epoch: number }
  /** The destination owns; `running` once it is durable that the copy runs. */
  | { readonly kind: "committed"; readonly epoch: number; readonly running: boolean }
  /**
   * Another migration has changed the owner since, so this one can never be
   * committed any more. A copy that never ran may go; a frozen source stays
   * frozen, unless the leader's record says that its copy ran.
   */
  | { readonly kind: "superseded"; readonly epoch: number };

/** The migration that a verdict is asked for. */
export interface Question {
  readonly uuid: string;
  readonly migrationId: string;
  /** Owner epoch in which it runs. */
  readonly epoch: number;
  readonly source: string;
}

/** Reads a record as the verdict on a migration. */
export function verdictOf(record: OwnerRecord | null, question: Omit<Question, "uuid">): Verdict {
  const { migrationId, epoch, source } = question;
  if (record === null || record.epoch < epoch) return { kind: "open", entered: false };
  const isOurs = record.migrationId === migrationId;
  if (record.epoch === epoch) return { kind: "open", entered: record.state === "switching" && isOurs };
  if (record.epoch === epoch + 1 && isOurs) {
    if (record.node === source) return { kind: "aborted", epoch: record.epoch };
    return { kind: "committed", epoch: record.epoch, running: record.state === "running" };
  }
  if (record.epoch === epoch + 2 && isOurs && record.node === source && record.state === "running") {
    return { kind: "aborted", epoch: record.epoch };
  }
  return { kind: "superseded", epoch: record.epoch };
}

export class Ownership {
  private readonly etcd: EtcdPort;
  private readonly node: string;

  constructor(etcd: EtcdPort, node: string) {
    this.etcd = etcd;
    this.node = node;
  }

  async verdict(question: Question, signal?: AbortSignal): Promise<Verdict> {
    const stored = await readRecord(this.etcd, OwnerRecord, keys.owner(question.uuid), { signal });
    return verdictOf(stored?.record ?? null, question);
  }

  /**
   * As `verdict`, for a source that may have been away for long: where the
   * container has moved on since, the record of the migration still says that
   * it was completed, which is "committed" and "running" here.
   */
  async verdictAsSource(question: Question, signal?: AbortSignal): Promise<Verdict> {
    return this.unlessCompleted(await this.verdict(question, signal), question, signal);
  }

  private async unlessCompleted(verdict: Verdict, question: Question, signal?: AbortSignal): Promise<Verdict> {
    if (verdict.kind !== "superseded") return verdict;
    const { migrationId, epoch } = question;
    const stored = await readRecord(this.etcd, MigrationRecord, keys.migration(migrationId), { signal });
    if (stored?.record.outcome !== "completed") return verdict;
    return { kind: "committed", epoch: epoch + 1, running: true };
  }

  /**
   * The source's own verdict. Asks until etcd has given one: "aborted" (this
   * node may run the container) or "committed" (it never may again).
   * "open" with `entered: false` if the switch had not been entered, so that
   * there was nothing to decide. Rejects only when the signal fires.
   */
  async abortAsSource(question: Question, signal: AbortSignal): Promise<Verdict> {
    const { uuid, epoch, migrationId } = question;
    for (;;) {
      try {
        const { record } = await changeOwner(this.etcd, uuid, (now) => abort(now, epoch, this.node, migrationId), {
          signal,
        });
        const verdict = await this.unlessCompleted(verdictOf(record, question), question, signal);
        if (verdict.kind !== "open" || !verdict.entered) return verdict;
      } catch (thrown) {
        if (signal.aborted || !isPassing(thrown)) throw thrown;
      }
      await pause(RETRY_MS, signal);
    }
  }

  /**
   * The destination's word that the committed copy is lost and never ran. Asks
   * until etcd has answered; NOT_OWNER if this node still has the container
   * after that.
   */
  async giveBack(question: Question, signal: AbortSignal): Promise<void> {
    const { uuid, epoch, migrationId, source } = question;
    await faultPoint("destination.before-give-back");
    for (;;) {
      try {
        const rule = (now: OwnerRecord) => giveBack(now, epoch + 1, this.node, source, migrationId);
        const { record } = await changeOwner(this.etcd, uuid, rule, { signal });
        const verdict = verdictOf(record, question);
        // Superseded: while the copy is committed nobody else can change the owner, so an earlier word of it was heard.
        if (verdict.kind === "aborted" || verdict.kind === "superseded") {
          await faultPoint("destination.after-give-back");
          return;
        }
        if (verdict.kind === "committed" && !verdict.running) continue;
        throw new DrayError("NOT_OWNER", `container ${uuid} cannot be given back: ${verdict.kind}`, {
          node: this.node,
        });
      } catch (thrown) {
        if (signal.aborted || !isPassing(thrown)) throw thrown;
      }
      await pause(RETRY_MS, signal);
    }
  }

  /** Makes "running" durable after the thaw. Asks until etcd has answered. NOT_OWNER if it says otherwise. */
  async confirmRunning(uuid: string, epoch: number, signal: AbortSignal): Promise<void> {
    await faultPoint("destination.before-confirm-running");
    for (;;) {
      try {
        const { record } = await changeOwner(this.etcd, uuid, (now) => confirmRunning(now, epoch, this.node), {
          signal,
        });
        if (record?.node === this.node && record.epoch === epoch && record.state === "running") {
          await faultPoint("destination.after-confirm-running");
          return;
        }
        if (record === null || record.epoch > epoch || record.node !== this.node) {
          throw new DrayError("NOT_OWNER", `container ${uuid} belongs to ${record?.node ?? "nobody"} in etcd`);
        }
      } catch (thrown) {
        if (signal.aborted || !isPassing(thrown)) throw thrown;
      }
      await pause(RETRY_MS, signal);
    }
  }

  /**
   * Waits until `accept` takes the verdict, told of every change by etcd.
   * Rejects only when the signal fires: without etcd it waits (invariant 3).
   */
  awaitVerdict(question: Question, accept: (verdict: Verdict) => boolean, signal: AbortSignal): Promise<Verdict> {
    return this.awaitValue(
      keys.owner(question.uuid),
      (entry) => {
        const verdict = verdictOf(entry === undefined ? null : decodeRecord(OwnerRecord, entry).record, question);
        return accept(verdict) ? verdict : undefined;
      },
      signal,
    );
  }

  /**
   * Waits until the leader has closed the migration: then it holds the
   * container's lock no more. Rejects only when the signal fires.
   */
  async awaitClosed({ uuid, migrationId }: Pick<Question, "uuid" | "migrationId">, signal: AbortSignal): Promise<void> {
    await this.awaitValue(
      keys.migrationLock(uuid),
      (entry) => (entry?.value === migrationId ? undefined : true),
      signal,
    );
  }

  /** What `judge` makes of a key, as soon as it makes something of it. */
  private async awaitValue<T>(
    key: string,
    judge: (entry: KeyValue | undefined) => T | undefined,
    signal: AbortSignal,
  ): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      try {
        const { entries, revision } = await this.etcd.getPrefix(key, { signal });
        const now = judge(entries.find((candidate) => candidate.key === key));
        if (now !== undefined) return now;
        for await (const step of this.etcd.watch(key, { fromRevision: revision + 1, signal })) {
          if (step.kind === "compacted") break;
          for (const change of step.changes) {
            const changed = change.type === "put" ? change.entry.key : change.key;
            if (changed !== key) continue;
            const later = judge(change.type === "put" ? change.entry : undefined);
            if (later !== undefined) return later;
          }
        }
      } catch (thrown) {
        if (signal.aborted || !isPassing(thrown)) throw thrown;
        await pause(RETRY_MS, signal);
      }
    }
  }
}

function isPassing(thrown: unknown): boolean {
  const { reason } = toDrayError(thrown);
  return reason === "ETCD_UNAVAILABLE" || reason === "OUTCOME_UNKNOWN" || reason === "TIMEOUT";
}
