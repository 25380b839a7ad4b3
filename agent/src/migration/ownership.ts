/**
 * The agent's own transactions on the owner key, and the watch for a verdict.
 * See shared/src/state/owner.ts for the rule.
 */
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { changeOwner } from "@drayage/shared/etcd/change-owner.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import { decodeRecord, readRecord } from "@drayage/shared/etcd/records.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { abort, confirmRunning, OwnerRecord } from "@drayage/shared/state/owner.ts";

const RETRY_MS = 500;

/** What the owner key says of a migration that runs in epoch E. */
export type Verdict =
  /** Not decided: the source owns epoch E. */
  | { readonly kind: "open"; readonly entered: boolean }
  /** The source owns epoch E+1: it may run on. */
  | { readonly kind: "aborted"; readonly epoch: number }
  /** The destination owns; `running` once it is durable that the copy runs. */
  | { readonly kind: "committed"; readonly epoch: number; readonly running: boolean }
  /**
   * The owner has changed more than once since. No leader begins a migration
   * before the last one has ended on both sides, so this is never seen; if it
   * is, nothing may be concluded from it and a frozen source stays frozen.
   */
  | { readonly kind: "superseded"; readonly epoch: number };

/** Reads a record as the verdict on the migration from `source` in `epoch`. */
export function verdictOf(record: OwnerRecord | null, epoch: number, source: string): Verdict {
  if (record === null || record.epoch < epoch) return { kind: "open", entered: false };
  if (record.epoch === epoch) return { kind: "open", entered: record.state === "switching" };
  if (record.epoch === epoch + 1) {
    if (record.node === source) return { kind: "aborted", epoch: record.epoch };
    return { kind: "committed", epoch: record.epoch, running: record.state === "running" };
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

  async verdict(uuid: string, epoch: number, source: string, signal?: AbortSignal): Promise<Verdict> {
    const stored = await readRecord(this.etcd, OwnerRecord, keys.owner(uuid), { signal });
    return verdictOf(stored?.record ?? null, epoch, source);
  }

  /**
   * The source's own verdict. Asks until etcd has given one: "aborted" (this
   * node may run the container) or "committed" (it never may again).
   * "open" with `entered: false` if the switch had not been entered, so that
   * there was nothing to decide. Rejects only when the signal fires.
   */
  async abortAsSource(uuid: string, epoch: number, migrationId: string, signal: AbortSignal): Promise<Verdict> {
    for (;;) {
      try {
        const { record } = await changeOwner(this.etcd, uuid, (now) => abort(now, epoch, this.node, migrationId), { signal });
        const verdict = verdictOf(record, epoch, this.node);
        if (verdict.kind !== "open" || !verdict.entered) return verdict;
      } catch (thrown) {
        if (signal.aborted || !isPassing(thrown)) throw thrown;
      }
      await pause(RETRY_MS, signal);
    }
  }

  /** Makes "running" durable after the thaw. Asks until etcd has answered. NOT_OWNER if it says otherwise. */
  async confirmRunning(uuid: string, epoch: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        const { record } = await changeOwner(this.etcd, uuid, (now) => confirmRunning(now, epoch, this.node), { signal });
        if (record?.node === this.node && record.epoch === epoch && record.state === "running") return;
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
  async awaitVerdict(
    question: { readonly uuid: string; readonly epoch: number; readonly source: string },
    accept: (verdict: Verdict) => boolean,
    signal: AbortSignal,
  ): Promise<Verdict> {
    const key = keys.owner(question.uuid);
    for (;;) {
      signal.throwIfAborted();
      try {
        const { entries, revision } = await this.etcd.getPrefix(key, { signal });
        const entry = entries.find((candidate) => candidate.key === key);
        const now = verdictOf(entry === undefined ? null : decodeRecord(OwnerRecord, entry).record, question.epoch, question.source);
        if (accept(now)) return now;
        for await (const step of this.etcd.watch(key, { fromRevision: revision + 1, signal })) {
          if (step.kind === "compacted") break;
          for (const change of step.changes) {
            if (change.type !== "put" || change.entry.key !== key) continue;
            const verdict = verdictOf(decodeRecord(OwnerRecord, change.entry).record, question.epoch, question.source);
            if (accept(verdict)) return verdict;
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

/** Back-off between questions to an etcd that did not answer. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}
