/** Who answers what only the leader may: this process while it leads, else the leader over the wire. */
import { pauseAtMost } from "@drayage/shared/concurrency/pause.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { MigrationServiceClient } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import type { Identity } from "@drayage/shared/identity/identity.ts";
import { type Connection, connect } from "@drayage/shared/rpc/client.ts";
import type { ClusterView, Leader } from "../cluster/view.ts";
import type { SagaSupervisor } from "../saga/supervisor.ts";

export interface Answerers<T> {
  readonly here: (supervisor: SagaSupervisor) => T;
  readonly there: (client: MigrationServiceClient) => T;
}

/** Covers an election after a leader's death with the default lease. */
export const PATIENCE_MS = 20_000;
/** The same for one answer: less than its asker waits, who asks again. */
const ANSWER_PATIENCE_MS = 8_000;
const RETRY_MS = 200;

/** Failures that say "ask again, perhaps the next leader", not "no". */
export function isPassing(thrown: unknown): boolean {
  const { reason } = toDrayError(thrown);
  return reason === "NO_LEADER" || reason === "NOT_LEADER" || reason === "ETCD_UNAVAILABLE";
}

export class LeaderSeat {
  readonly #identity: Identity;
  readonly #name: string;
  readonly #view: ClusterView;
  #supervisor: SagaSupervisor | undefined;
  #link: { readonly key: string; readonly connection: Promise<Connection> } | undefined;

  constructor(options: { readonly identity: Identity; readonly name: string; readonly view: ClusterView }) {
    this.#identity = options.identity;
    this.#name = options.name;
    this.#view = options.view;
  }

  get isTaken(): boolean {
    return this.#supervisor !== undefined;
  }

  take(supervisor: SagaSupervisor): void {
    this.#supervisor = supervisor;
  }

  leave(): void {
    this.#supervisor = undefined;
  }

  close(): void {
    this.#dropLink();
  }

  /**
   * Runs `here` while this process leads, else `there` at the leader. A call
   * that another coordinator has forwarded is not forwarded again: NOT_LEADER.
   * Where nobody leads since etcd does not answer: ETCD_UNAVAILABLE.
   */
  async answer<T>(isForwarded: boolean, signal: AbortSignal, answerers: Answerers<Promise<T>>): Promise<T> {
    if (this.#supervisor !== undefined) return await answerers.here(this.#supervisor);
    if (isForwarded) throw new DrayError("NOT_LEADER", `coordinator ${this.#name} does not lead`);
    try {
      return await answerers.there(await this.#client());
    } catch (thrown) {
      if (!isPassing(thrown)) throw thrown;
      this.#dropLink();
      await this.#view.refreshLeader(signal);
      throw thrown;
    }
  }

  /** Like answer, but waits for a leader. For calls that may be repeated. */
  async answerPatiently<T>(isForwarded: boolean, signal: AbortSignal, answerers: Answerers<Promise<T>>): Promise<T> {
    const startedAt = performance.now();
    for (;;) {
      try {
        return await this.answer(isForwarded, signal, answerers);
      } catch (thrown) {
        const isOver = isForwarded || signal.aborted || performance.now() - startedAt > ANSWER_PATIENCE_MS;
        if (isOver || !isPassing(thrown)) throw thrown;
        await this.lookAgain(signal);
      }
    }
  }

  /** Before another attempt: whoever did not lead may have been asked because the view was behind. */
  async lookAgain(signal: AbortSignal): Promise<void> {
    await pauseAtMost(RETRY_MS, signal);
    // An etcd that does not answer is told by the next attempt.
    await this.#view.refreshLeader(signal).catch(() => undefined);
  }

  /** Streams from whoever leads. */
  async *stream<T>(isForwarded: boolean, answerers: Answerers<AsyncIterable<T>>): AsyncGenerator<T, void, undefined> {
    if (this.#supervisor !== undefined) return yield* answerers.here(this.#supervisor);
    if (isForwarded) throw new DrayError("NOT_LEADER", `coordinator ${this.#name} does not lead`);
    const client = await this.#client();
    try {
      yield* answerers.there(client);
    } catch (thrown) {
      if (isPassing(thrown)) this.#dropLink();
      throw thrown;
    }
  }

  async #client(): Promise<MigrationServiceClient> {
    const leader = this.#view.leader();
    if (leader === undefined) throw new DrayError("NO_LEADER", "no coordinator leads");
    if (leader.name === this.#name) throw new DrayError("NO_LEADER", "this coordinator is about to lead");
    return (await this.#connection(leader)).client(MigrationServiceClient);
  }

  async #connection(leader: Leader): Promise<Connection> {
    const key = `${leader.name} ${leader.term}`;
    if (this.#link?.key !== key) {
      this.#dropLink();
      const connection = connect({
        identity: this.#identity,
        addresses: leader.addresses,
        expected: { role: "coordinator", name: leader.name },
      });
      this.#link = { key, connection };
    }
    const link = this.#link;
    try {
      const connection = await link.connection;
      if (connection.isUp()) return connection;
      if (this.#link === link) this.#dropLink();
      return await this.#connection(leader);
    } catch (thrown) {
      if (this.#link === link) this.#link = undefined;
      throw thrown;
    }
  }

  #dropLink(): void {
    // A connection that never came about has nothing to close.
    this.#link?.connection.then(
      (connection) => connection.close(),
      () => undefined,
    );
    this.#link = undefined;
  }
}
