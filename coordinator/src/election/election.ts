/**
 * The election: each coordinator keeps one key on a lease of its own; the key
 * that was created first leads. The key is created, never overwritten, so its
 * create revision names one term of one leader.
 */
import { pauseAtMost } from "@drayage/shared/concurrency/pause.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import type { Lease } from "@drayage/shared/etcd/guarded-lease.ts";
import { encodeRecord } from "@drayage/shared/etcd/records.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { CandidateRecord, inOrder } from "./candidate.ts";
import type { Leadership } from "./leadership.ts";

export interface ElectionOptions {
  readonly etcd: EtcdPort;
  readonly candidate: CandidateRecord;
  readonly leaseTtlSeconds: number;
  readonly logger: Logger;
  /** Does the leader's work until the leadership is lost or it returns. */
  readonly lead: (leadership: Leadership) => Promise<void>;
}

const RETRY_MS = 500;

/** Campaigns and leads, again and again, until the signal fires; then resigns and returns. */
export async function runElection(options: ElectionOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await standOnce(options, signal);
    } catch (thrown) {
      if (signal.aborted) return;
      const error = toDrayError(thrown);
      options.logger.warn({ reason: error.reason }, `election: ${error.message}`);
      await pauseAtMost(RETRY_MS, signal);
    }
  }
}

/** One candidacy, from the lease to its loss or the signal. */
async function standOnce(options: ElectionOptions, signal: AbortSignal): Promise<void> {
  const { etcd, candidate, leaseTtlSeconds, logger } = options;
  const lease = await etcd.grantLease({ ttlSeconds: leaseTtlSeconds, signal });
  try {
    const revision = await createKey(etcd, candidate, lease, signal);
    const standing = AbortSignal.any([lease.lost, signal]);
    await awaitTurn(etcd, keys.candidate(candidate.name), revision, standing);
    if (standing.aborted) return;
    await faultPoint("election.won");
    const gone = new AbortController();
    const lost = AbortSignal.any([lease.lost, gone.signal]);
    const watching = watchOwnKey(etcd, keys.candidate(candidate.name), revision, gone, AbortSignal.any([lost, signal]));
    logger.info({ term: revision }, "leading");
    try {
      const leadership: Leadership = {
        term: revision,
        lost: AbortSignal.any([lost, signal]),
        guard: [{ key: keys.candidate(candidate.name), is: "created-at", revision }],
      };
      await options.lead(leadership);
    } finally {
      gone.abort(new DrayError("NOT_LEADER", "the leadership has ended"));
      await watching;
      logger.info({ term: revision }, "no longer leading");
    }
  } finally {
    await lease.revoke();
  }
}

/** Creates this coordinator's key and returns its revision; a key left by an earlier life is removed first. */
async function createKey(
  etcd: EtcdPort,
  candidate: CandidateRecord,
  lease: Lease,
  signal: AbortSignal,
): Promise<number> {
  const key = keys.candidate(candidate.name);
  const value = encodeRecord(CandidateRecord, candidate);
  for (;;) {
    const result = await etcd.txn(
      {
        compare: [{ key, is: "absent" }],
        success: [{ do: "put", key, value, leaseId: lease.id }],
        failure: [{ do: "get", key }],
      },
      { signal },
    );
    if (result.succeeded) return result.revision;
    const left = result.entries[0];
    if (left !== null && left !== undefined) {
      await etcd.txn(
        { compare: [{ key, is: "created-at", revision: left.createRevision }], success: [{ do: "delete", key }] },
        { signal },
      );
    }
  }
}

/** Returns when no candidate is ahead any more, or the signal has fired. NOT_LEADER if the own key is gone. */
async function awaitTurn(etcd: EtcdPort, key: string, revision: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const snapshot = await etcd.getPrefix(keys.election(), { signal });
    const candidates = inOrder(snapshot.entries);
    if (!candidates.some((candidate) => candidate.key === key && candidate.revision === revision)) {
      throw new DrayError("NOT_LEADER", "this coordinator's election key is gone");
    }
    if (candidates[0]?.key === key) return;
    await nextDeletion(etcd, snapshot.revision + 1, signal);
  }
}

async function nextDeletion(etcd: EtcdPort, fromRevision: number, signal: AbortSignal): Promise<void> {
  for await (const step of etcd.watch(keys.election(), { fromRevision, signal })) {
    if (step.kind === "compacted" || step.changes.some((change) => change.type === "delete")) return;
  }
}

/** Ends the leadership when its key goes away under it. */
async function watchOwnKey(
  etcd: EtcdPort,
  key: string,
  revision: number,
  gone: AbortController,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const { entries, revision: readAt } = await etcd.getPrefix(key, { signal });
      const own = entries.find((entry) => entry.key === key);
      if (own?.createRevision !== revision) return gone.abort(keyRemoved());
      for await (const step of etcd.watch(key, { fromRevision: readAt + 1, signal })) {
        if (step.kind === "compacted") break;
        if (step.changes.some((change) => change.type === "delete" && change.key === key))
          return gone.abort(keyRemoved());
      }
    } catch (thrown) {
      // Without an answer the lease's guard decides, not this watch.
      if (!signal.aborted && toDrayError(thrown).reason !== "ETCD_UNAVAILABLE") throw thrown;
    }
  }
}

function keyRemoved(): DrayError {
  return new DrayError("NOT_LEADER", "this coordinator's election key was removed");
}
