/** What is durable of a migration on its destination: the journal's latest entry, and the only way to change it. */
import { Serial } from "@drayage/shared/concurrency/serial.ts";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import { type DestinationEntry, type DestinationState, isEnded } from "../journal/entry.ts";
import { mayFollow } from "../journal/transitions.ts";
import type { AgentHost } from "./agent-host.ts";
import { DESTINATION_TRANSITIONS } from "./destination-states.ts";
import type { Question } from "./ownership.ts";
import type { PhaseContext } from "./run-phase.ts";

/** What every part of the destination's side works with. */
export interface DestinationContext {
  readonly host: AgentHost;
  readonly record: DestinationRecord;
  readonly phases: PhaseContext;
}

/** What of an entry may become known on the way. */
type Facts = Partial<Pick<DestinationEntry, "dockerId" | "macs" | "error" | "thawedAtMs" | "postCopy" | "placesLater">>;

export class DestinationRecord {
  readonly #host: Pick<AgentHost, "journal" | "metrics" | "node">;
  readonly #writing = new Serial();
  #entry: DestinationEntry;

  /** `entry` is what the journal holds. */
  constructor(host: Pick<AgentHost, "journal" | "metrics" | "node">, entry: DestinationEntry) {
    this.#host = host;
    this.#entry = entry;
  }

  get entry(): DestinationEntry {
    return this.#entry;
  }

  /** What etcd is asked about this migration. */
  get question(): Question {
    const { uuid, epoch, migrationId, peerNode } = this.#entry;
    return { uuid, epoch, migrationId, source: peerNode };
  }

  /**
   * Makes the next state durable, one after the other. Refused (CANCELLED) if
   * it may not follow: once the way back has been taken, what was under way
   * then must not undo it.
   */
  transition(state: DestinationState, facts: Facts = {}): Promise<void> {
    return this.#writing.run(async () => {
      if (!mayFollow(DESTINATION_TRANSITIONS, this.#entry.state, state)) throw this.outOfTurn(state);
      const next: DestinationEntry = { ...this.#entry, ...facts, state, atMs: Date.now() };
      await faultPoint(`destination.before-journal-${state}`);
      await this.#host.journal.write(next);
      if (isEnded(next)) this.#host.metrics.migrationsInProgress.dec({ role: "destination" });
      this.#entry = next;
      await faultPoint(`destination.after-journal-${state}`);
    });
  }

  /** For an order, or a step of one, that the state has no place for. */
  outOfTurn(what: string): DrayError {
    const { state, migrationId } = this.#entry;
    return new DrayError("CANCELLED", `${what} does not fit state ${state} of migration ${migrationId}`, {
      node: this.#host.node,
      remedy: "The agent was restarted, or the migration is being rolled back; migrate again.",
    });
  }
}
