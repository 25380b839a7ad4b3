/** A prefix of etcd kept in memory by a watch. */
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { EtcdPort, KeyValue } from "@drayage/shared/etcd/etcd-port.ts";
import { decodeRecord, type Stored } from "@drayage/shared/etcd/records.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import type { z } from "zod";
import { pause } from "../pause.ts";

const RETRY_MS = 500;

export class Mirror<S extends z.ZodType> {
  readonly #etcd: EtcdPort;
  readonly #schema: S;
  readonly #prefix: string;
  readonly #logger: Logger;
  readonly #onChange: (key: string, now: Stored<z.output<S>> | null, before: Stored<z.output<S>> | null) => void;
  readonly #entries = new Map<string, Stored<z.output<S>>>();
  readonly #loaded = Promise.withResolvers<void>();

  /** @param onChange told of each difference, also of those found by reading anew; not of the first reading */
  constructor(
    etcd: EtcdPort,
    schema: S,
    prefix: string,
    logger: Logger,
    onChange: (key: string, now: Stored<z.output<S>> | null, before: Stored<z.output<S>> | null) => void = () =>
      undefined,
  ) {
    this.#etcd = etcd;
    this.#schema = schema;
    this.#prefix = prefix;
    this.#logger = logger;
    this.#onChange = onChange;
  }

  /** Resolves after the first complete reading. */
  get loaded(): Promise<void> {
    return this.#loaded.promise;
  }

  get(key: string): Stored<z.output<S>> | undefined {
    return this.#entries.get(key);
  }

  /** All records, by key. */
  values(): Stored<z.output<S>>[] {
    return [...this.#entries.values()].sort((one, other) => (one.key < other.key ? -1 : 1));
  }

  /** Keeps the mirror until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    let isFirst = true;
    while (!signal.aborted) {
      try {
        const snapshot = await this.#etcd.getPrefix(this.#prefix, { signal });
        this.#replace(snapshot.entries, isFirst);
        isFirst = false;
        this.#loaded.resolve();
        for await (const step of this.#etcd.watch(this.#prefix, { fromRevision: snapshot.revision + 1, signal })) {
          if (step.kind === "compacted") break;
          for (const change of step.changes) {
            if (change.type === "put") this.#put(change.entry, true);
            else this.#delete(change.key);
          }
        }
      } catch (thrown) {
        if (signal.aborted) return;
        const error = toDrayError(thrown);
        if (error.reason !== "ETCD_UNAVAILABLE") throw error;
        this.#logger.warn({ reason: error.reason, prefix: this.#prefix }, error.message);
        await pause(RETRY_MS, signal);
      }
    }
  }

  #replace(entries: readonly KeyValue[], isFirst: boolean): void {
    const present = new Set(entries.map((entry) => entry.key));
    for (const key of [...this.#entries.keys()]) if (!present.has(key)) this.#delete(key);
    for (const entry of entries) {
      if (this.#entries.get(entry.key)?.modRevision !== entry.modRevision) this.#put(entry, !isFirst);
    }
  }

  #put(entry: KeyValue, tell: boolean): void {
    const before = this.#entries.get(entry.key) ?? null;
    try {
      const now = decodeRecord(this.#schema, entry);
      this.#entries.set(entry.key, now);
      if (tell) this.#onChange(entry.key, now, before);
    } catch (thrown) {
      if (!(thrown instanceof DrayError)) throw thrown;
      // One record of another version must not hide all others.
      this.#logger.error({ key: entry.key }, thrown.message);
    }
  }

  #delete(key: string): void {
    const before = this.#entries.get(key);
    if (before === undefined) return;
    this.#entries.delete(key);
    this.#onChange(key, null, before);
  }
}
