/** A migration as `--json` prints it. The names are a contract with scripts: add, never change. */
import { type Migration, Outcome } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { modeName } from "../parse/mode.ts";
import { findingDocument, type FindingDocument } from "./finding-document.ts";
import { timestamp } from "./timestamp.ts";

export interface MigrationDocument {
  readonly id: string;
  readonly container: string;
  readonly container_uuid: string;
  readonly source: string;
  readonly destination: string;
  readonly mode: string;
  readonly phase: string;
  /** When the present phase began; empty if that is not known. */
  readonly phase_started_at: string;
  /** "completed", "rolled_back", "failed", "unknown"; null while it is under way. */
  readonly outcome: OutcomeName | null;
  readonly reason: string;
  readonly started_at: string;
  /** From the freeze on the source to the thaw on the destination; null if that is not known, or has not come. */
  readonly downtime_ms: number | null;
  /** The downtime that was asked for; null if none was. */
  readonly max_downtime_ms: number | null;
  /** How long it stood still on the source before it ran there again; null if that is not known, or has not come. */
  readonly frozen_ms: number | null;
  /** Null while it is under way. */
  readonly total_ms: number | null;
  readonly rounds: readonly {
    readonly bytes: number;
    readonly pages: number;
    readonly duration_ms: number;
    readonly dirty_bytes: number;
    readonly wire_bytes: number;
    /** How long it stood still to be asked what was written to; 0 where it was not asked, and of the switch. */
    readonly still_ms: number;
  }[];
  /** What was decided on the way, and why, with the numbers; for people. */
  readonly decisions: readonly string[];
  readonly memory_bytes: number;
  readonly wire_bytes: number;
  readonly phases: readonly {
    readonly name: string;
    readonly node: string;
    readonly started_at: string;
    readonly duration_ms: number;
  }[];
  readonly progress: {
    readonly step: string;
    readonly done_bytes: number;
    readonly total_bytes: number;
    readonly message: string;
  } | null;
  readonly findings: readonly FindingDocument[];
  readonly cancel_requested: boolean;
  readonly error: {
    readonly reason: string;
    readonly message: string;
    readonly remedy: string;
    readonly phase: string;
    readonly node: string;
  } | null;
}

export type OutcomeName = "completed" | "rolled_back" | "failed" | "unknown";

/** Null while the migration is under way. */
export function outcomeName(outcome: Outcome): OutcomeName | null {
  switch (outcome) {
    case Outcome.OUTCOME_UNSPECIFIED:
      return null;
    case Outcome.OUTCOME_COMPLETED:
      return "completed";
    case Outcome.OUTCOME_ROLLED_BACK:
      return "rolled_back";
    case Outcome.OUTCOME_FAILED:
      return "failed";
    case Outcome.OUTCOME_UNKNOWN:
    case Outcome.UNRECOGNIZED:
      return "unknown";
  }
}

/** Whether there is an outcome to tell of, be it that it is not known: the coordinator's stream ends there. */
export function hasOutcome(migration: Migration): boolean {
  return outcomeName(migration.outcome) !== null;
}

export function migrationDocument(migration: Migration): MigrationDocument {
  const { error, progress } = migration;
  return {
    id: migration.id,
    container: migration.container,
    container_uuid: migration.containerUuid,
    source: migration.source,
    destination: migration.destination,
    mode: modeName(migration.mode),
    phase: migration.phase,
    phase_started_at: timestamp(migration.phaseStartedAtMs),
    outcome: outcomeName(migration.outcome),
    reason: migration.reason,
    started_at: timestamp(migration.startedAtMs),
    downtime_ms: known(migration.downtimeMs),
    max_downtime_ms: known(migration.maxDowntimeMs),
    frozen_ms: migration.frozenMs === undefined ? null : tenths(migration.frozenMs),
    total_ms: known(migration.totalMs),
    rounds: migration.rounds.map((round) => ({
      bytes: round.bytes,
      pages: round.pages,
      duration_ms: tenths(round.durationMs),
      dirty_bytes: round.dirtyBytes,
      wire_bytes: round.wireBytes,
      still_ms: tenths(round.stillMs),
    })),
    decisions: migration.decisions,
    memory_bytes: migration.memoryBytes,
    wire_bytes: migration.wireBytes,
    phases: migration.phases.map((phase) => ({
      name: phase.name,
      node: phase.node,
      started_at: timestamp(phase.startedAtMs),
      duration_ms: tenths(phase.durationMs),
    })),
    progress: progress
      ? {
          step: progress.step,
          done_bytes: progress.doneBytes,
          total_bytes: progress.totalBytes,
          message: progress.message,
        }
      : null,
    findings: migration.findings.map(findingDocument),
    cancel_requested: migration.cancelRequested,
    error: error
      ? { reason: error.reason, message: error.message, remedy: error.remedy, phase: error.phase, node: error.node }
      : null,
  };
}

/** On the wire 0 stands for what is not known. */
function known(milliseconds: number): number | null {
  return milliseconds > 0 ? tenths(milliseconds) : null;
}

/** As fine as it is measured. */
function tenths(milliseconds: number): number {
  return Math.round(milliseconds * 10) / 10;
}
