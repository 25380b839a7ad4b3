/** A prefix of etcd kept in memory by a watch; what it has never goes back to an earlier state. */
import { pauseAtMost } from "@drayage/shared/concurrency/pause.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { EtcdPort, KeyValue, Snapshot, WatchStep } from "@drayage/shared/etcd/etcd-port.ts";
import { decodeRecord, type Stored } from "@drayage/shared/etcd/records.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import type { z } from "zod";

const RETRY_MS = 500;

export class Mirror<S extends z.ZodType> {
  readonly #etcd: Pick<EtcdPort, "getPrefix" | "watch">;
  readonly #schema: S;
  readonly #prefix: string;
  readonly #logger: Logger;
  readonly #onChange: (key: string, now: Stored<z.output<S>> | null, before: Stored<z.output<S>> | null) => void;
  readonly #entries = new Map<string, Stored<z.output<S>>>();
  readonly #loaded = Promise.withResolvers<void>();
  /** Of etcd, up to which the entries are complete; 0 before the first reading. */
  #revision = 0;

  /** @param onChange told of each difference, also of those found by reading anew; not of the first reading */
  constructor(
    etcd: Pick<EtcdPort, "getPrefix" | "watch">,
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

  /**
   * Reads what etcd has now. A watch may be behind, by as long as a cut connection takes to be noticed; what is
   * answered after this is no older than this call. ETCD_UNAVAILABLE.
   */
  async refresh(signal: AbortSignal): Promise<void> {
    this.#read(await this.#etcd.getPrefix(this.#prefix, { signal }));
  }

  /** Keeps the mirror until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const snapshot = await this.#etcd.getPrefix(this.#prefix, { signal });
        this.#read(snapshot);
        this.#loaded.resolve();
        for await (const step of this.#etcd.watch(this.#prefix, { fromRevision: snapshot.revision + 1, signal })) {
          if (step.kind === "compacted") break;
          this.#follow(step);
        }
      } catch (thrown) {
        if (signal.aborted) return;
        const error = toDrayError(thrown);
        if (error.reason !== "ETCD_UNAVAILABLE") throw error;
        this.#logger.warn({ reason: error.reason, prefix: this.#prefix }, error.message);
        await pauseAtMost(RETRY_MS, signal);
      }
    }
  }

  #read({ entries, revision }: Snapshot): void {
    if (revision <= this.#revision) return;
    const isFirst = this.#revision === 0;
    this.#revision = revision;
    const present = new Set(entries.map((entry) => entry.key));
    for (const key of [...this.#entries.keys()]) if (!present.has(key)) this.#delete(key);
    for (const entry of entries) {
      if (this.#entries.get(entry.key)?.modRevision !== entry.modRevision) this.#put(entry, !isFirst);
    }
  }

  #follow({ changes, revision }: Extract<WatchStep, { kind: "changes" }>): void {
    const known = this.#revision;
    this.#revision = Math.max(known, revision);
    for (const change of changes) {
      if (change.type === "put") {
        if (change.entry.modRevision > known) this.#put(change.entry, true);
      } else if (change.revision > known) this.#delete(change.key);
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
