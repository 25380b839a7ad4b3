/** What is durable of a migration on its source: the journal's latest entry, and the only way to change it. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import type { SyncRequest } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { isEnded, type SourceEntry, type SourceState } from "../journal/entry.ts";
import { mayFollow } from "../journal/transitions.ts";
import type { AgentHost } from "./agent-host.ts";
import type { Question } from "./ownership.ts";
import { SOURCE_TRANSITIONS } from "./source-states.ts";

/** What of an entry may become known on the way. */
type Facts = Partial<Pick<SourceEntry, "frozen" | "postCopy" | "ranOn" | "frozenMs" | "error">>;

export class SourceRecord {
  readonly #host: AgentHost;
  #entry: SourceEntry;
  /** One transition after the other: each is judged by what the one before has made of it. */
  #writing: Promise<unknown> = Promise.resolve();

  /** `entry` is what the journal holds. */
  constructor(host: AgentHost, entry: SourceEntry) {
    this.#host = host;
    this.#entry = entry;
  }

  /** Writes the intent; nothing of the container has been touched. NOT_FOUND if there is no such container. */
  static async begin(host: AgentHost, request: SyncRequest): Promise<SourceRecord> {
    const inspect = await host.docker.inspectContainer(request.dockerId);
    const entry: SourceEntry = {
      role: "source",
      state: "syncing",
      migrationId: request.order?.migrationId ?? "",
      uuid: request.uuid,
      containerName: inspect.Name.replace(/^\//, ""),
      epoch: request.epoch,
      peerNode: request.destinationNode,
      atMs: Date.now(),
      error: "",
      dockerId: request.dockerId,
      frozen: null,
      postCopy: null,
      ranOn: false,
      frozenMs: 0,
    };
    await faultPoint("source.before-journal-syncing");
    await host.journal.write(entry);
    await faultPoint("source.after-journal-syncing");
    return new SourceRecord(host, entry);
  }

  get entry(): SourceEntry {
    return this.#entry;
  }

  /** What etcd is asked about this migration. */
  get question(): Question {
    const { uuid, epoch, migrationId } = this.#entry;
    return { uuid, epoch, migrationId, source: this.#host.node };
  }

  /** Makes the next state durable. Refused (CANCELLED) if it may not follow the one that is. */
  async transition(state: SourceState, facts: Facts = {}): Promise<void> {
    const written = this.#writing.then(() => this.#write(state, facts));
    this.#writing = written.catch(() => undefined);
    await written;
    await faultPoint(`source.after-journal-${state}`);
  }

  async #write(state: SourceState, facts: Facts): Promise<void> {
    const { state: now, migrationId } = this.#entry;
    if (!mayFollow(SOURCE_TRANSITIONS, now, state)) {
      throw new DrayError("CANCELLED", `${state} does not fit state ${now} of migration ${migrationId}`, {
        node: this.#host.node,
        remedy: "The agent was restarted, or the migration is being rolled back; migrate again.",
      });
    }
    const next: SourceEntry = { ...this.#entry, ...facts, state, atMs: Date.now() };
    await faultPoint(`source.before-journal-${state}`);
    await this.#host.journal.write(next);
    if (isEnded(next)) this.#host.metrics.migrationsInProgress.dec({ role: "source" });
    this.#entry = next;
  }
}
