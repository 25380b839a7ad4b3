/** The etcd port over etcd3. */
import type { ChannelOptions } from "@grpc/grpc-js";
import { noop } from "cockatiel";
import { EtcdLeaseInvalidError, isRecoverableError } from "etcd3";
import { pauseAtMost } from "../concurrency/pause.ts";
import { DrayError } from "../errors/dray-error.ts";
import type { EtcdIdentity } from "./address-name.ts";
import { bootTimeMs } from "./boot-clock.ts";
import { ConnectedEtcd, endpointPolicy, type KeepAliveStream } from "./connected-etcd.ts";
import { toEtcdError, wasNeverSent } from "./etcd3-errors.ts";
import type {
  CallOptions,
  EtcdPort,
  KeyValue,
  Snapshot,
  Transaction,
  TransactionResult,
  WatchOptions,
  WatchStep,
} from "./etcd-port.ts";
import { GuardedLease, type Lease, type LeaseCalls } from "./guarded-lease.ts";
import { watchPrefix } from "./watch.ts";
import { prefixEnd, toEntries, toKeyValue, toRawCompare, toRawOperation } from "./wire.ts";

const DEFAULT_DEADLINE_MS = 3_000;
/** An endpoint that hangs costs a read so much before the next one is asked. */
const ATTEMPT_MS = 1_000;
const RETRY_PAUSE_MS = 50;
/** A keepalive that has failed, or is unanswered for so long, is sent to every member. */
const HEDGE_MS = 700;

const CHANNEL_OPTIONS: ChannelOptions = {
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 3_000,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  "grpc.max_receive_message_length": -1,
};

export interface EtcdOptions {
  /** "https://host:port" or "host:port"; the host name or address must be in the certificate of that member. */
  readonly endpoints: readonly string[];
  readonly identity: EtcdIdentity;
}

export function openEtcd(options: EtcdOptions): EtcdPort {
  if (options.endpoints.length === 0) throw new DrayError("BAD_CONFIG", "no etcd endpoint is configured");
  if (options.endpoints.some((endpoint) => endpoint.startsWith("http://"))) {
    throw new DrayError("BAD_CONFIG", "etcd endpoints must use TLS (https://)");
  }
  const hosts = options.endpoints.map((endpoint) =>
    endpoint.startsWith("https://") ? endpoint : `https://${endpoint}`,
  );
  const client: ConnectedEtcd = new ConnectedEtcd(options.identity, {
    hosts,
    grpcOptions: CHANNEL_OPTIONS,
    // etcd3 would repeat calls by itself; a repeated transaction that had
    // been applied the first time answers "condition not met".
    faultHandling: {
      global: noop,
      host: hosts.length > 1 ? (host) => endpointPolicy(() => client.isWorthAsking(host)) : () => noop,
    },
  });
  return new Etcd3Client(client, hosts.length > 1 ? ATTEMPT_MS : Number.POSITIVE_INFINITY);
}

class Etcd3Client implements EtcdPort {
  readonly #client: ConnectedEtcd;
  readonly #attemptMs: number;

  /** @param attemptMs limit of one attempt at a read */
  constructor(client: ConnectedEtcd, attemptMs: number) {
    this.#client = client;
    this.#attemptMs = attemptMs;
  }

  async get(key: string, options: CallOptions = {}): Promise<KeyValue | null> {
    const response = await this.#read(`get ${key}`, options, (deadline) =>
      this.#client.kv.range({ key: Buffer.from(key) }, { deadline }),
    );
    const raw = response.kvs[0];
    return raw === undefined ? null : toKeyValue(raw);
  }

  async getPrefix(prefix: string, options: CallOptions = {}): Promise<Snapshot> {
    const response = await this.#read(`get ${prefix}*`, options, (deadline) =>
      this.#client.kv.range({ key: Buffer.from(prefix), range_end: prefixEnd(prefix) }, { deadline }),
    );
    return {
      entries: response.kvs.map(toKeyValue),
      revision: Number(response.header.revision),
    };
  }

  async put(
    key: string,
    value: string,
    options: CallOptions & { readonly leaseId?: string | undefined } = {},
  ): Promise<{ revision: number }> {
    const request = {
      key: Buffer.from(key),
      value: Buffer.from(value),
      lease: options.leaseId ?? "0",
    };
    const response = await this.#write(`put ${key}`, options, (deadline) => this.#client.kv.put(request, { deadline }));
    return { revision: Number(response.header.revision) };
  }

  async delete(key: string, options: CallOptions = {}): Promise<{ deleted: boolean; revision: number }> {
    const request = { key: Buffer.from(key) };
    const response = await this.#write(`delete ${key}`, options, (deadline) =>
      this.#client.kv.deleteRange(request, { deadline }),
    );
    return {
      deleted: Number(response.deleted) > 0,
      revision: Number(response.header.revision),
    };
  }

  async txn(transaction: Transaction, options: CallOptions = {}): Promise<TransactionResult> {
    const failure = transaction.failure ?? [];
    const request = {
      compare: transaction.compare.map(toRawCompare),
      success: transaction.success.map(toRawOperation),
      failure: failure.map(toRawOperation),
    };
    const response = await this.#write("a transaction", options, (deadline) =>
      this.#client.kv.txn(request, { deadline }),
    );
    const done = response.succeeded ? transaction.success : failure;
    return {
      succeeded: response.succeeded,
      revision: Number(response.header.revision),
      entries: toEntries(response, done),
    };
  }

  watch(prefix: string, options: WatchOptions = {}): AsyncIterable<WatchStep> {
    return watchPrefix(this.#client.watchClient, prefix, options);
  }

  async grantLease(options: { readonly ttlSeconds: number } & CallOptions): Promise<Lease> {
    let sentAtMs = 0;
    const response = await this.#write("grant lease", options, (deadline) => {
      sentAtMs = bootTimeMs();
      return this.#client.leaseClient.leaseGrant({ TTL: options.ttlSeconds }, { deadline });
    });
    return new GuardedLease(leaseCalls(this.#client), response.ID, options.ttlSeconds, sentAtMs);
  }

  async grantBareLease(options: { readonly ttlSeconds: number } & CallOptions): Promise<string> {
    const response = await this.#write("grant lease", options, (deadline) =>
      this.#client.leaseClient.leaseGrant({ TTL: options.ttlSeconds }, { deadline }),
    );
    return response.ID;
  }

  close(): void {
    this.#client.close();
  }

  /** Repeats a read at other endpoints until the deadline. */
  async #read<T>(what: string, options: CallOptions, send: (deadline: number) => Promise<T>): Promise<T> {
    const endsAtMs = Date.now() + (options.deadlineMs ?? DEFAULT_DEADLINE_MS);
    for (;;) {
      if (options.signal?.aborted) throw cancelled(what, options.signal.reason);
      const leftMs = endsAtMs - Date.now();
      try {
        return await withAbort(send(Date.now() + Math.min(this.#attemptMs, leftMs)), options.signal);
      } catch (thrown) {
        if (options.signal?.aborted && thrown === options.signal.reason) throw cancelled(what, thrown);
        const retryable = thrown instanceof Error && (isRecoverableError(thrown) || wasNeverSent(thrown));
        if (!retryable || endsAtMs - Date.now() <= RETRY_PAUSE_MS) throw toEtcdError(thrown, what, false);
        await pauseAtMost(RETRY_PAUSE_MS, options.signal);
      }
    }
  }

  /** Sends a write once; again only if it certainly never left. */
  async #write<T>(what: string, options: CallOptions, send: (deadline: number) => Promise<T>): Promise<T> {
    const endsAtMs = Date.now() + (options.deadlineMs ?? DEFAULT_DEADLINE_MS);
    for (;;) {
      if (options.signal?.aborted) throw cancelled(what, options.signal.reason);
      try {
        return await withAbort(send(endsAtMs), options.signal);
      } catch (thrown) {
        if (options.signal?.aborted && thrown === options.signal.reason) {
          throw new DrayError("OUTCOME_UNKNOWN", `gave up waiting for ${what}`, { cause: thrown });
        }
        if (!wasNeverSent(thrown) || endsAtMs - Date.now() <= RETRY_PAUSE_MS) throw toEtcdError(thrown, what, true);
        await pauseAtMost(RETRY_PAUSE_MS, options.signal);
      }
    }
  }
}

async function keepAliveOn(stream: KeepAliveStream, leaseId: string): Promise<number> {
  try {
    return await new Promise<number>((resolve, reject) => {
      stream.on("data", (response) => resolve(Number(response.TTL)));
      stream.on("error", reject);
      stream.on("end", () => reject(new DrayError("ETCD_UNAVAILABLE", "the keepalive stream ended")));
      stream.write({ ID: leaseId });
    });
  } finally {
    stream.end();
  }
}

function leaseCalls(client: ConnectedEtcd): LeaseCalls {
  return {
    keepAlive: async (leaseId, deadlineMs) => {
      const deadline = Date.now() + deadlineMs;
      const first = client.leaseClient.leaseKeepAlive({ deadline }).then((stream) => keepAliveOn(stream, leaseId));
      // Repeating it does no harm; one member that hangs, or knows no leader, must not be all that are asked.
      const tooLate = pauseAtMost(HEDGE_MS, undefined).then(() => Promise.reject(new Error("not answered yet")));
      return await Promise.race([first, tooLate]).catch(() =>
        Promise.any([first, ...client.withEachMember(deadline, (stream) => keepAliveOn(stream, leaseId))]),
      );
    },
    revoke: async (leaseId) => {
      try {
        await client.leaseClient.leaseRevoke({ ID: leaseId }, { deadline: Date.now() + DEFAULT_DEADLINE_MS });
      } catch (thrown) {
        if (!(thrown instanceof EtcdLeaseInvalidError)) throw thrown;
      }
    },
  };
}

function cancelled(what: string, reason: unknown): DrayError {
  return new DrayError("CANCELLED", `${what} was cancelled`, { cause: reason });
}

/** Settles with the promise, or rejects with the signal's reason, whichever is first. */
async function withAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
