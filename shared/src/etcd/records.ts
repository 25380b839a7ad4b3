/** Records in etcd: JSON, checked by their zod schema on the way in and out. */
import type { z } from "zod";
import { DrayError } from "../errors/dray-error.ts";
import type { CallOptions, Compare, EtcdPort, KeyValue, Operation } from "./etcd-port.ts";

export interface Stored<T> {
  readonly key: string;
  readonly record: T;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly leaseId: string;
}

/** INTERNAL if the value is not such a record: nobody but Drayage writes there. */
export function decodeRecord<S extends z.ZodType>(schema: S, entry: KeyValue): Stored<z.output<S>> {
  let json: unknown;
  try {
    json = JSON.parse(entry.value);
  } catch (cause) {
    throw new DrayError("INTERNAL", `${entry.key} in etcd is not JSON`, {
      cause,
    });
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    throw new DrayError("INTERNAL", `${entry.key} in etcd is not valid: ${parsed.error.message}`, {
      cause: parsed.error,
    });
  }
  const { key, createRevision, modRevision, leaseId } = entry;
  return { key, record: parsed.data, createRevision, modRevision, leaseId };
}

export function encodeRecord<S extends z.ZodType>(schema: S, record: z.output<S>): string {
  return JSON.stringify(schema.parse(record));
}

export async function readRecord<S extends z.ZodType>(
  etcd: EtcdPort,
  schema: S,
  key: string,
  options?: CallOptions,
): Promise<Stored<z.output<S>> | null> {
  const entry = await etcd.get(key, options);
  return entry === null ? null : decodeRecord(schema, entry);
}

export interface ChangeOptions extends CallOptions {
  /**
   * Further conditions of the transaction. Only final ones (see Compare): a
   * definite "no" must hold for every copy of the transaction in flight.
   */
  readonly compares?: readonly Extract<Compare, { is: "created-at" | "modified-at" | "leased" }>[];
  /** Done in the same transaction. */
  readonly alsoDo?: readonly Operation[];
}

export interface ChangeResult<T> {
  /** True if the change, by this call, stands. */
  readonly applied: boolean;
  /** The record after the call; null if there is none. */
  readonly record: T | null;
}

/** One read or write waits no longer than this, whatever the deadline of the change. */
const ATTEMPT_MS = 3_000;
/** Pause before a write of unknown outcome is looked into again. */
const LOOK_AGAIN_MS = 100;

/**
 * Changes one record by a pure rule; a rule that gives null forbids it.
 *
 * A write whose outcome is unknown is repeated under the same condition on the
 * modification revision until etcd gives a verdict: at most one of the copies
 * can apply, and the old value read back is never taken for a "no". When the
 * deadline (default 3000 ms) ends first: OUTCOME_UNKNOWN if something was
 * sent, else ETCD_UNAVAILABLE.
 */
export async function compareAndSwap<S extends z.ZodType>(
  etcd: EtcdPort,
  schema: S,
  key: string,
  rule: (record: z.output<S>) => z.output<S> | null,
  options: ChangeOptions = {},
): Promise<ChangeResult<z.output<S>>> {
  const endsAtMs = Date.now() + (options.deadlineMs ?? 3_000);
  const call = (): CallOptions => ({
    signal: options.signal,
    deadlineMs: Math.max(1, Math.min(ATTEMPT_MS, endsAtMs - Date.now())),
  });
  let mayHaveLanded = false;
  let pending: { readonly value: string; readonly modRevision: number } | null = null;
  for (;;) {
    let entry: KeyValue | null;
    try {
      entry = await etcd.get(key, call());
    } catch (cause) {
      if (!mayLookAgain(cause, options.signal, endsAtMs)) throw unlessSent(cause, key, mayHaveLanded);
      await pauseToLookAgain();
      continue;
    }
    if (entry === null) return { applied: false, record: null };
    const stored = decodeRecord(schema, entry);
    if (pending !== null && entry.modRevision !== pending.modRevision) {
      return { applied: entry.value === pending.value, record: stored.record };
    }
    const next = rule(stored.record);
    if (next === null) return { applied: false, record: stored.record };
    const value = encodeRecord(schema, next);
    pending = { value, modRevision: entry.modRevision };
    try {
      const result = await etcd.txn(
        {
          compare: [{ key, is: "modified-at", revision: entry.modRevision }, ...(options.compares ?? [])],
          success: [{ do: "put", key, value, leaseId: entry.leaseId }, ...(options.alsoDo ?? [])],
          failure: [{ do: "get", key }],
        },
        call(),
      );
      if (result.succeeded) return { applied: true, record: next };
      const found = result.entries[0] ?? null;
      if (found === null) return { applied: false, record: null };
      if (found.value === value && found.modRevision > entry.modRevision) return { applied: true, record: next };
      return { applied: false, record: decodeRecord(schema, found).record };
    } catch (thrown) {
      mayHaveLanded ||= thrown instanceof DrayError && thrown.reason === "OUTCOME_UNKNOWN";
      if (!mayLookAgain(thrown, options.signal, endsAtMs)) throw unlessSent(thrown, key, mayHaveLanded);
      await pauseToLookAgain();
    }
  }
}

function pauseToLookAgain(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
}

function mayLookAgain(thrown: unknown, signal: AbortSignal | undefined, endsAtMs: number): boolean {
  if (!(thrown instanceof DrayError) || signal?.aborted || endsAtMs - Date.now() <= LOOK_AGAIN_MS) return false;
  return thrown.reason === "OUTCOME_UNKNOWN" || thrown.reason === "ETCD_UNAVAILABLE";
}

/** What to throw at the end: once a write may have landed, nothing less than "unknown" is true. */
function unlessSent(thrown: unknown, key: string, mayHaveLanded: boolean): unknown {
  if (!mayHaveLanded) return thrown;
  return new DrayError("OUTCOME_UNKNOWN", `etcd did not say whether ${key} was changed`, { cause: thrown });
}
