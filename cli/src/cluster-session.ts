/**
 * The command's connection to whichever coordinator answers. When that one
 * goes away, or has no leader to forward to, the next is asked, for as long as
 * the caller's patience lasts: a change of leader is not the operator's concern.
 *
 * Every call made through it must be one that may be repeated.
 */
import { setTimeout as delay } from "node:timers/promises";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Reason } from "@drayage/shared/errors/reason.ts";
import { ClusterServiceClient } from "@drayage/shared/gen/drayage/coordinator/v1/cluster.ts";
import { MigrationServiceClient } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import type { Identity } from "@drayage/shared/identity/identity.ts";
import { type CallSettings, type Connection, connect } from "@drayage/shared/rpc/client.ts";
import type { ConnectionNews, Peer } from "./output/connection-news.ts";

export interface Clients {
  readonly cluster: ClusterServiceClient;
  readonly migrations: MigrationServiceClient;
  /** Name that the coordinator gives itself. */
  readonly coordinator: string;
}

export interface SessionOptions {
  readonly identity: Identity;
  /** "host:port" of the coordinators. */
  readonly addresses: readonly string[];
  readonly signal: AbortSignal;
  /** Told when a call has to wait for a coordinator, from time to time while it waits, and when one has answered. */
  readonly onNews: (news: ConnectionNews) => void;
}

export interface Patience {
  /** For one attempt. */
  readonly deadlineMs: number;
  /** How long to go on asking while no coordinator can answer. */
  readonly patienceMs: number;
}

export const QUICK: Patience = { deadlineMs: 15_000, patienceMs: 10_000 };

const RETRY_PAUSE_MS = 250;
/** Between two words on the same wait. */
const REMIND_MS = 10_000;

/** Another coordinator, or the same one a little later, may well answer. */
const PASSING: ReadonlySet<Reason> = new Set<Reason>(["NO_LEADER", "NOT_LEADER", "ETCD_UNAVAILABLE"]);

export class ClusterSession {
  readonly #options: SessionOptions;
  #addresses: readonly string[];
  #connection: Connection | undefined;
  /** Since no coordinator answers, and when that was told last. */
  #outage: { readonly sinceMs: number; readonly toldMs: number } | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#addresses = options.addresses;
  }

  /** Makes a call that may be repeated. Throws the last error when patience is at its end. */
  async call<R>(patience: Patience, use: (clients: Clients, settings: CallSettings) => Promise<R>): Promise<R> {
    const { signal } = this.#options;
    const startedAt = performance.now();
    for (;;) {
      try {
        const answer = await use(await this.#clients(), { deadlineMs: patience.deadlineMs, signal });
        this.#answered();
        return answer;
      } catch (thrown) {
        await this.#afterFailure(toDrayError(thrown), startedAt + patience.patienceMs);
      }
    }
  }

  /**
   * Follows a stream across coordinators. `open` is called again after a break
   * or an early end, until `isComplete` says that the last answer was the end.
   * Patience counts from the last answer.
   */
  async *follow<R>(
    patienceMs: number,
    open: (clients: Clients, settings: CallSettings) => AsyncIterable<R>,
    isComplete: (last: R | undefined) => boolean,
  ): AsyncGenerator<R, void, undefined> {
    const { signal } = this.#options;
    let heardAt = performance.now();
    let last: R | undefined;
    for (;;) {
      try {
        for await (const answer of open(await this.#clients(), { deadlineMs: Number.POSITIVE_INFINITY, signal })) {
          heardAt = performance.now();
          this.#answered();
          last = answer;
          yield answer;
        }
        if (isComplete(last)) return;
        throw new DrayError("NO_LEADER", "the coordinator ended the stream early");
      } catch (thrown) {
        await this.#afterFailure(toDrayError(thrown), heardAt + patienceMs);
      }
    }
  }

  close(): void {
    this.#connection?.close();
    this.#connection = undefined;
  }

  async #clients(): Promise<Clients> {
    const { identity, signal } = this.#options;
    this.#connection ??= await connect({
      identity,
      addresses: [...this.#addresses],
      expected: { role: "coordinator" },
      signal,
    });
    return {
      cluster: this.#connection.client(ClusterServiceClient),
      migrations: this.#connection.client(MigrationServiceClient),
      coordinator: this.#connection.node,
    };
  }

  async #afterFailure(error: DrayError, giveUpAt: number): Promise<void> {
    if (!PASSING.has(error.reason) || performance.now() >= giveUpAt) throw error;
    const failed = this.#connection;
    this.close();
    if (failed !== undefined) {
      this.#addresses = [...this.#addresses.filter((address) => address !== failed.address), failed.address];
    }
    this.#tellOutage(error, failed);
    await delay(RETRY_PAUSE_MS, undefined, { signal: this.#options.signal });
  }

  #tellOutage(error: DrayError, failed: Connection | undefined): void {
    const nowMs = performance.now();
    const trying = this.#addresses;
    if (this.#outage === undefined) {
      this.#options.onNews({ kind: "lost", from: failed && peerOf(failed), error, trying });
      this.#outage = { sinceMs: nowMs, toldMs: nowMs };
    } else if (nowMs - this.#outage.toldMs >= REMIND_MS) {
      this.#options.onNews({ kind: "waiting", forMs: nowMs - this.#outage.sinceMs, error, trying });
      this.#outage = { ...this.#outage, toldMs: nowMs };
    }
  }

  #answered(): void {
    if (this.#outage === undefined || this.#connection === undefined) return;
    const afterMs = performance.now() - this.#outage.sinceMs;
    this.#outage = undefined;
    this.#options.onNews({ kind: "back", to: peerOf(this.#connection), afterMs });
  }
}

function peerOf({ node, address }: Connection): Peer {
  return { name: node, address };
}
