/**
 * A small model of one migration: etcd, two agents, leaders that come and go.
 *
 * Transactions and orders travel: they may land late, in any order, also those
 * of leaders long replaced. The rules of ownership and the leader's decisions
 * are the real ones; the rest is as small as can be.
 */
import type { MigrationPhase } from "@drayage/shared/state/migration.ts";
import { abort, commit, confirmRunning, enterSwitch, giveBack, type OwnerRecord } from "@drayage/shared/state/owner.ts";
import { isTooLateToCancel, nextStep } from "../saga/next-step.ts";

const SOURCE = "n1";
const DESTINATION = "n2";
const EPOCH = 1;
const ID = "0123456789ab";

interface Leader {
  readonly term: number;
  /** What it waits for; one transaction or one order at a time. */
  waits: boolean;
  /** How far it is in the switch step. */
  switchAt: "begin" | "held" | "entered" | "sent";
  /** The destination's lease when the switch step began. */
  lease: number;
  /** A forward step failed: the way back is next. */
  failed: boolean;
}

/** Something on its way; `deliver` is called at most once. */
interface Travelling {
  readonly deliver: () => void;
}

export type Action =
  | "lead"
  | "deliver"
  | "lose"
  | "crash"
  | "cancel"
  | "restart-source"
  | "source-gives-up"
  | "reboot-destination"
  | "destination-looks";

export const ACTIONS: readonly Action[] = [
  "lead",
  "deliver",
  "lose",
  "crash",
  "cancel",
  "restart-source",
  "source-gives-up",
  "reboot-destination",
  "destination-looks",
];

export class MigrationModel {
  owner: OwnerRecord = { uuid: "u", node: SOURCE, epoch: EPOCH, state: "running", migrationId: "" };
  record = {
    id: ID,
    epoch: EPOCH,
    source: SOURCE,
    destination: DESTINATION,
    phase: "reserve" as MigrationPhase,
    cancelRequested: false,
  };
  outcome: "none" | "completed" | "rolled_back" | "failed" | "unknown" = "none";
  /** The source's container and its agent's state. */
  source: "running" | "frozen" | "killed" = "running";
  sourceState: "idle" | "synced" | "sent" | "aborted" | "finished" = "idle";
  /** The destination's copy. */
  copy: "none" | "held" | "prepared" | "running" = "none";
  /** True once the copy may have run. */
  hasThawed = false;
  /** True once a reboot has taken a copy that was prepared. */
  copyLost = false;
  lease = 1;
  readonly #travelling: Travelling[] = [];
  #leader: Leader = newLeader(1);
  readonly #highestTerm = { source: 0, destination: 0 };

  /** Does one thing, chosen by the action and a number. */
  act(action: Action, choice: number): void {
    switch (action) {
      case "lead":
        return this.#lead();
      case "deliver":
        return this.#deliver(choice);
      case "lose":
        return this.#lose(choice);
      case "crash":
        this.#leader = newLeader(this.#leader.term + 1);
        return;
      case "cancel":
        if (!isTooLateToCancel(this.record) && this.record.phase !== "abort")
          this.record = { ...this.record, cancelRequested: true };
        return;
      case "restart-source":
        // Its agent undoes what was half done; what was sent waits for the verdict.
        if (this.sourceState === "synced") this.#sourceAborts(() => undefined);
        return;
      case "source-gives-up":
        if (this.sourceState === "sent") this.#sourceAborts(() => undefined);
        return;
      case "reboot-destination":
        if (this.copy === "prepared" || this.copy === "running") this.copyLost = true;
        this.copy = "none";
        this.lease++;
        return;
      case "destination-looks":
        return this.#activateByItself();
    }
  }

  /** Lets everything arrive and the leader go on until nothing changes. */
  settle(): void {
    for (let round = 0; round < 200 && this.outcome === "none"; round++) {
      this.#lead();
      while (this.#travelling.length > 0) this.#deliver(0);
    }
  }

  /** What must hold at every moment; null if it does. */
  breach(): string | null {
    if (this.source === "running" && this.copy === "running") return "two copies run";
    const isDecided = this.owner.node === DESTINATION;
    if (isDecided && this.source === "running") return "the source runs after the commit";
    if (!isDecided && this.copy === "running") return "the copy runs without the commit";
    if (this.source === "killed" && this.owner.node === SOURCE) return "the source was killed though it owns";
    if (this.source === "killed" && this.owner.state !== "running")
      return "the source was killed before the copy ran for sure";
    if (!isDecided && this.owner.state === "running" && this.owner.epoch === EPOCH && this.source === "frozen")
      return "frozen before the switch was entered";
    return null;
  }

  #lead(): void {
    const leader = this.#leader;
    if (leader.waits || this.outcome !== "none") return;
    if (leader.failed) {
      leader.failed = false;
      if (this.record.phase !== "abort") return this.#write({ phase: "abort" });
    }
    const step = nextStep(this.record, this.owner);
    switch (step) {
      case "none":
        return;
      case "reserve":
        return this.#order("source", () => {
          if (this.sourceState === "idle") this.sourceState = "synced";
          if (this.sourceState !== "synced") return "failed";
          return () => this.#write({ phase: "switch" });
        });
      case "switch":
        return this.#switch();
      case "activate":
        return this.#order("destination", () => {
          if (this.owner.node !== DESTINATION) return "failed";
          if (this.#givesBack()) return "failed";
          if (this.copy === "none") {
            return () => this.#end("failed");
          }
          this.copy = "running";
          this.hasThawed = true;
          return () =>
            this.#transaction(
              (owner) => confirmRunning(owner, EPOCH + 1, DESTINATION),
              true,
              () => undefined,
            );
        });
      case "finish":
        return this.#order("source", () => {
          if (this.owner.node !== DESTINATION || this.owner.state !== "running") return "failed";
          this.source = "killed";
          this.sourceState = "finished";
          return () => this.#end("completed");
        });
      case "abort":
        return this.#abort();
      case "give-up":
        return this.#end("unknown");
    }
  }

  #switch(): void {
    const leader = this.#leader;
    switch (leader.switchAt) {
      case "begin":
        leader.lease = this.lease;
        return this.#order("destination", () => {
          if (this.copy === "none") this.copy = "held";
          return () => {
            leader.switchAt = "held";
          };
        });
      case "held":
        return this.#transaction(
          (owner) => enterSwitch(owner, EPOCH, SOURCE, ID),
          true,
          () => {
            if (this.owner.state === "switching") leader.switchAt = "entered";
            else leader.failed = true;
          },
        );
      case "entered":
        return this.#order("source", () => {
          if (this.sourceState !== "synced" && this.sourceState !== "sent") return "failed";
          this.source = "frozen";
          this.sourceState = "sent";
          if (this.copy === "none") return "failed";
          if (this.copy === "held") this.copy = "prepared";
          return () => {
            leader.switchAt = "sent";
          };
        });
      case "sent": {
        const { lease } = leader;
        if (this.record.cancelRequested) {
          leader.failed = true;
          return;
        }
        return this.#transaction(
          (owner) => (this.lease === lease ? commit(owner, EPOCH, DESTINATION, ID) : null),
          true,
          () => {
            leader.switchAt = "begin";
            if (this.owner.node !== DESTINATION) leader.failed = true;
          },
          () => {
            this.record = { ...this.record, phase: "activate" };
          },
        );
      }
    }
  }

  #abort(): void {
    if (this.record.phase !== "abort") return this.#write({ phase: "abort" });
    this.#order("source", () => {
      if (this.sourceState === "finished") return "failed";
      let isDone = false;
      this.#sourceAborts(() => {
        isDone = true;
      });
      return () => {
        // The leader believes the owner key alone.
        const runs = this.owner.node === SOURCE && this.owner.state === "running";
        if (!runs || !isDone) return;
        this.#order("destination", () => {
          if (this.owner.node === DESTINATION) return "failed";
          this.copy = "none";
          return () => this.#end("rolled_back");
        });
      };
    });
  }

  /** The source's own transaction; it resumes only by what that says. */
  #sourceAborts(done: () => void): void {
    const verdict = () => {
      const mayRun = this.owner.node === SOURCE && this.owner.state === "running";
      if (!mayRun || this.sourceState === "finished") return;
      this.source = "running";
      this.sourceState = "aborted";
      done();
    };
    const next = abort(this.owner, EPOCH, SOURCE, ID);
    if (next !== null) this.owner = next;
    verdict();
  }

  /** A copy that is lost and was never thawed goes back to the source. */
  #givesBack(): boolean {
    if (this.copy !== "none" || this.hasThawed) return false;
    this.owner = giveBack(this.owner, EPOCH + 1, DESTINATION, SOURCE, ID) ?? this.owner;
    return this.owner.node === SOURCE;
  }

  #activateByItself(): void {
    if (this.owner.node === DESTINATION) this.#givesBack();
    if (this.owner.node !== DESTINATION || this.copy !== "prepared") return;
    this.copy = "running";
    this.hasThawed = true;
    this.owner = confirmRunning(this.owner, EPOCH + 1, DESTINATION) ?? this.owner;
  }

  /** A transaction of the leader; it lands only while that leader's key stands. */
  #transaction(
    rule: (owner: OwnerRecord) => OwnerRecord | null,
    isFenced: boolean,
    answered: () => void,
    also: () => void = () => undefined,
  ): void {
    const leader = this.#leader;
    leader.waits = true;
    this.#travelling.push({
      deliver: () => {
        if (isFenced && leader !== this.#leader) return;
        const next = rule(this.owner);
        if (next !== null) {
          this.owner = next;
          also();
        }
        leader.waits = false;
        answered();
      },
    });
  }

  #write(change: Partial<typeof this.record>): void {
    const leader = this.#leader;
    leader.waits = true;
    this.#travelling.push({
      deliver: () => {
        if (leader !== this.#leader) return;
        this.record = { ...this.record, ...change };
        leader.waits = false;
      },
    });
  }

  #end(outcome: typeof this.outcome): void {
    const leader = this.#leader;
    leader.waits = true;
    this.#travelling.push({
      deliver: () => {
        if (leader !== this.#leader) return;
        this.record = { ...this.record, phase: "done" };
        this.outcome = outcome;
      },
    });
  }

  /** An order; agents carry out late ones too, unless they have heard of a newer leader. */
  #order(agent: "source" | "destination", carryOut: () => "failed" | (() => void)): void {
    const leader = this.#leader;
    leader.waits = true;
    this.#travelling.push({
      deliver: () => {
        if (leader.term < this.#highestTerm[agent]) return;
        this.#highestTerm[agent] = leader.term;
        const result = carryOut();
        if (leader !== this.#leader) return;
        leader.waits = false;
        if (result === "failed")
          leader.failed =
            nextStep(this.record, this.owner) === "reserve" || nextStep(this.record, this.owner) === "switch";
        else result();
      },
    });
  }

  #deliver(choice: number): void {
    const [one] = this.#travelling.splice(choice % Math.max(1, this.#travelling.length), 1);
    one?.deliver();
  }

  /** The message arrives, but whoever sent it never hears: it asks again. */
  #lose(choice: number): void {
    const leader = this.#leader;
    this.#deliver(choice);
    if (leader === this.#leader && this.outcome === "none" && this.#travelling.length === 0) leader.waits = false;
  }
}

function newLeader(term: number): Leader {
  return { term, waits: false, switchAt: "begin", lease: 0, failed: false };
}
