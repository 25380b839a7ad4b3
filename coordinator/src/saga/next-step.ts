/**
 * What a leader does next with a migration, decided from the record and the
 * owner key alone: the same for the leader that began it and for one that
 * finds it. Pure.
 *
 *   reserve ──► sync ──► switch ──► (commit) ──► activate (─► fetch) ──► finish ──► done
 *      │          │         │                       ▲                     ▲
 *      └──────────┴─────────┴──► abort ─────────────┼─────────────────────┘
 *                                  └── the commit had won ──┘
 */
import type { MigrationRecord } from "@drayage/shared/state/migration.ts";
import type { OwnerRecord } from "@drayage/shared/state/owner.ts";

/** Where the container stands, seen from one migration. */
export type Standing =
  /** The source owns epoch E and has not been told to freeze. */
  | "not-entered"
  /** The source may be frozen; nothing is decided. */
  | "switching"
  /** The source has decided to run on. */
  | "source-runs"
  /** The destination owns; it may not run yet. */
  | "committed"
  /** The destination owns, and its running is durable. */
  | "destination-runs"
  /** The key tells of something else: nothing may be concluded from it. */
  | "elsewhere";

export function standingOf(
  record: Pick<MigrationRecord, "id" | "epoch" | "source" | "destination">,
  owner: OwnerRecord | null,
): Standing {
  if (owner === null) return "elsewhere";
  const isOurs = owner.migrationId === record.id;
  if (owner.epoch === record.epoch && owner.node === record.source) {
    if (owner.state === "running") return "not-entered";
    return owner.state === "switching" && isOurs ? "switching" : "elsewhere";
  }
  if (owner.epoch === record.epoch + 1 && isOurs) {
    if (owner.node === record.source && owner.state === "running") return "source-runs";
    if (owner.node === record.destination && owner.state === "committed") return "committed";
    if (owner.node === record.destination && owner.state === "running") return "destination-runs";
  }
  // Given back by the destination, whose copy died before it was thawed.
  if (owner.epoch === record.epoch + 2 && isOurs && owner.node === record.source && owner.state === "running")
    return "source-runs";
  return "elsewhere";
}

export type Step =
  /** Reserve on the destination, then sync: the transfer token lives in no record, so both are ordered anew. */
  | "reserve"
  /** Prepare and switch, then the commit transaction. */
  | "switch"
  | "activate"
  | "finish"
  | "abort"
  /** Nothing may be done any more; the record is closed with outcome unknown. */
  | "give-up"
  | "none";

export function nextStep(
  record: Pick<MigrationRecord, "id" | "epoch" | "source" | "destination" | "phase" | "cancelRequested">,
  owner: OwnerRecord | null,
): Step {
  if (record.phase === "done") return "none";
  const standing = standingOf(record, owner);
  switch (standing) {
    case "committed":
      return "activate";
    case "destination-runs":
      return "finish";
    case "source-runs":
      return "abort";
    case "elsewhere":
      return "give-up";
    case "not-entered":
    case "switching":
      return undecided(record, standing);
  }
}

function undecided(
  record: Pick<MigrationRecord, "phase" | "cancelRequested">,
  standing: "not-entered" | "switching",
): Step {
  if (record.cancelRequested) return "abort";
  switch (record.phase) {
    case "preflight":
    case "reserve":
    case "sync":
      return standing === "not-entered" ? "reserve" : "abort";
    case "switch":
    case "commit":
      return "switch";
    // These follow a decision only; without one the way back is the safe one.
    case "activate":
    case "fetch":
    case "finish":
    case "abort":
      return "abort";
    case "done":
      return "none";
  }
}

/** True once nothing can bring the container back to the source any more, or that has been tried. */
export function isTooLateToCancel(record: Pick<MigrationRecord, "phase">): boolean {
  return (
    record.phase === "commit" ||
    record.phase === "activate" ||
    record.phase === "fetch" ||
    record.phase === "finish" ||
    record.phase === "done"
  );
}
