/**
 * What Drayage asks of etcd. All reads are linearizable.
 *
 * Errors of every call: CANCELLED if the signal fired before anything was
 * sent; ETCD_UNAVAILABLE when a read got no answer in time, or a write
 * certainly never reached etcd; OUTCOME_UNKNOWN when a write may have been
 * applied or may still be (reading the old value back is no verdict).
 */
import type { Lease } from "./guarded-lease.ts";

export interface KeyValue {
  readonly key: string;
  readonly value: string;
  /** Revision at which the key came to be; new after each deletion. */
  readonly createRevision: number;
  /** Revision of the last put. */
  readonly modRevision: number;
  /** Decimal id of the lease that holds the key; "0" for none. */
  readonly leaseId: string;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Limit for the whole call; default 3000. */
  readonly deadlineMs?: number | undefined;
}

/**
 * A condition of a transaction. Those on revisions and leases are final: once
 * false they stay false (no key goes back to a lease), so that a definite "no"
 * holds for every copy of the transaction still in flight. "value", "present"
 * and "absent" are not.
 */
export type Compare =
  | { readonly key: string; readonly is: "value"; readonly value: string }
  | {
      readonly key: string;
      readonly is: "created-at";
      readonly revision: number;
    }
  | {
      readonly key: string;
      readonly is: "modified-at";
      readonly revision: number;
    }
  | { readonly key: string; readonly is: "leased"; readonly leaseId: string }
  | { readonly key: string; readonly is: "present" }
  | { readonly key: string; readonly is: "absent" };

export type Operation =
  | {
      readonly do: "put";
      readonly key: string;
      readonly value: string;
      readonly leaseId?: string | undefined;
    }
  | { readonly do: "delete"; readonly key: string }
  | { readonly do: "get"; readonly key: string };

export interface Transaction {
  readonly compare: readonly Compare[];
  readonly success: readonly Operation[];
  readonly failure?: readonly Operation[];
}

export interface TransactionResult {
  /** True if all conditions held and `success` was done, false if `failure` was. */
  readonly succeeded: boolean;
  /** Revision of the store after the transaction. */
  readonly revision: number;
  /** One for each operation done: the entry for a get, null for others and for absent keys. */
  readonly entries: readonly (KeyValue | null)[];
}

export interface Snapshot {
  readonly entries: readonly KeyValue[];
  /** Revision of the store at the reading; watch from revision + 1 to miss nothing. */
  readonly revision: number;
}

export type Change =
  | { readonly type: "put"; readonly entry: KeyValue }
  | {
      readonly type: "delete";
      readonly key: string;
      readonly revision: number;
    };

/**
 * One step of a watch. "compacted" is the last step of a watch that asked for
 * history which is gone: read the prefix again and watch from there.
 */
export type WatchStep =
  | {
      readonly kind: "changes";
      readonly revision: number;
      readonly changes: readonly Change[];
    }
  | { readonly kind: "compacted"; readonly revision: number };

export interface WatchOptions {
  /** First revision to report; default: from now on. */
  readonly fromRevision?: number | undefined;
  /** Ends the watch without an error. */
  readonly signal?: AbortSignal | undefined;
}

export interface EtcdPort {
  /** The entry, or null if there is none. */
  get(key: string, options?: CallOptions): Promise<KeyValue | null>;
  /** All entries under the prefix, by key. */
  getPrefix(prefix: string, options?: CallOptions): Promise<Snapshot>;
  put(
    key: string,
    value: string,
    options?: CallOptions & { readonly leaseId?: string | undefined },
  ): Promise<{ readonly revision: number }>;
  delete(key: string, options?: CallOptions): Promise<{ readonly deleted: boolean; readonly revision: number }>;
  txn(transaction: Transaction, options?: CallOptions): Promise<TransactionResult>;
  /** Changes of all keys under the prefix, in order, none twice. Reconnects by itself for as long as it is read. */
  watch(prefix: string, options?: WatchOptions): AsyncIterable<WatchStep>;
  /** A lease that is kept alive until it is revoked or lost. */
  grantLease(options: { readonly ttlSeconds: number } & CallOptions): Promise<Lease>;
  /** The id of a lease that nobody keeps alive: its keys go after the time to live. */
  grantBareLease(options: { readonly ttlSeconds: number } & CallOptions): Promise<string>;
  /** Ends all connections; calls under way fail. */
  close(): void;
}
