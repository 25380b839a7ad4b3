/** A migration in words: its phases as lines, and how it ended. Pure. */
import type { Reason } from "@drayage/shared/errors/reason.ts";
import type { Migration } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { type MigrationDocument, outcomeName } from "../documents/migration-document.ts";
import { modeName } from "../parse/mode.ts";
import { printable } from "./table.ts";
import { showBytes, showDuration } from "./units.ts";

/** The phases of a migration that goes well, in order. */
export const PHASES = ["preflight", "reserve", "sync", "switch", "commit", "activate", "fetch", "finish"] as const;

const CANCELLED: Reason = "CANCELLED";

export interface PhaseLine {
  readonly name: string;
  readonly state: "done" | "running" | "failed" | "cancelled" | "waiting";
  /** Duration, or what is going on; may be empty. */
  readonly detail: string;
}

/** One line for each phase, the ones to come included; after a failure, `abort` takes their place. */
export function phaseLines(migration: Migration): PhaseLine[] {
  const isOver = outcomeName(migration.outcome) !== null && migration.phase === "done";
  const hasFailed = migration.phase === "abort" || migration.error !== undefined;
  const lines: PhaseLine[] = [];
  for (const name of hasFailed ? [...PHASES, "abort"] : PHASES) {
    const time = migration.phases.find((phase) => phase.name === name);
    const end = migration.error?.reason === CANCELLED ? "cancelled" : "failed";
    if (migration.error?.phase === name)
      lines.push({ name, state: end, detail: time ? showDuration(time.durationMs) : "" });
    else if (name === migration.phase && !isOver)
      lines.push({ name, state: "running", detail: progressText(migration) });
    else if (time) lines.push({ name, state: "done", detail: showDuration(time.durationMs) });
    else if (!hasFailed && !isOver && name !== "fetch") lines.push({ name, state: "waiting", detail: "" });
  }
  return lines;
}

/**
 * What took how long, by its beginning: name, where, since the migration's beginning, duration. The phases are the
 * leading coordinator's; below each, what the agents did in it, as far as the clocks of the hosts agree.
 */
export function phaseRows(migration: Migration): string[][] {
  const { phases, startedAtMs } = migration;
  const isPhase = (name: string) => name === "abort" || (PHASES as readonly string[]).includes(name);
  // At the same moment a phase stands before its steps.
  const byBeginning = phases.toSorted(
    (one, other) => one.startedAtMs - other.startedAtMs || Number(isPhase(other.name)) - Number(isPhase(one.name)),
  );
  const ended = byBeginning.map(({ name, node, startedAtMs: beganAtMs, durationMs }) => [
    isPhase(name) ? name : `  ${name}`,
    isPhase(name) ? `${node} (coordinator)` : node,
    since(startedAtMs, beganAtMs),
    showDuration(durationMs),
  ]);
  return [...ended, ...presentRows(migration)];
}

/** The phase that runs now. */
function presentRows(migration: Migration): string[][] {
  const { phase, phases, startedAtMs, phaseStartedAtMs } = migration;
  const hasEnded = phases.some(({ name, startedAtMs: beganAtMs }) => name === phase && beganAtMs === phaseStartedAtMs);
  if (phase === "done" || phaseStartedAtMs === 0 || hasEnded) return [];
  return [[phase, "", since(startedAtMs, phaseStartedAtMs), "runs"]];
}

function since(startedAtMs: number, beganAtMs: number): string {
  return `+${showDuration(Math.max(0, beganAtMs - startedAtMs))}`;
}

/** "dump 12 MB of 80 MB, pages": where the present phase is. */
export function progressText(migration: Migration): string {
  const progress = migration.progress;
  if (!progress) return "";
  const bytes =
    progress.totalBytes > 0
      ? `${showBytes(progress.doneBytes)} of ${showBytes(progress.totalBytes)}`
      : progress.doneBytes > 0
        ? showBytes(progress.doneBytes)
        : "";
  const step = progress.step === migration.phase ? "" : progress.step;
  const amount = [step, bytes].filter((part) => part !== "").join(" ");
  return printable([amount, progress.message].filter((part) => part !== "").join(", "));
}

/** "web: n1 → n2, stop-copy (a1b2c3d4e5f6)". */
export function titleLine(migration: Migration): string {
  const to = migration.destination === "" ? "…" : migration.destination;
  return printable(
    `${migration.container}: ${migration.source} → ${to}, ${modeName(migration.mode)} (${migration.id})`,
  );
}

/** For a container that runs where it was: what its clients may have seen of the attempt. */
function standstillText({ frozenMs }: Migration): string {
  return frozenMs === undefined || frozenMs === 0 ? "" : `, after it had stood still for ${showDuration(frozenMs)}`;
}

/** What is to be done now; empty if nothing is. What went wrong at first is not it as long as the outcome is not known. */
export function remedyOf({ id, outcome, error }: MigrationDocument): string {
  if (outcome === "unknown") return `It goes on without this command. Ask again with \`dray migration inspect ${id}\`.`;
  return error?.remedy ?? "";
}

/** How it ended, in one sentence. */
export function endLine(migration: Migration): string {
  const { container, source, destination } = migration;
  switch (outcomeName(migration.outcome)) {
    case "completed": {
      const bytes = `${showBytes(migration.memoryBytes)} of memory, ${showBytes(migration.wireBytes)} on the wire`;
      const wanted = migration.maxDowntimeMs === 0 ? "" : ` (${showDuration(migration.maxDowntimeMs)} wanted)`;
      const times = `down ${showDuration(migration.downtimeMs)}${wanted}, ${showDuration(migration.totalMs)} in all`;
      return printable(`${container} runs on ${destination}: ${times}, ${bytes}`);
    }
    case "rolled_back":
      return printable(`${container} was not migrated; it runs on ${source} as before${standstillText(migration)}`);
    case "failed":
      return printable(`the migration of ${container} failed, and it does not run on ${source}`);
    case "unknown":
      return printable(
        `it is not known yet whether ${container} belongs to ${source} or ${destination}; it may be frozen`,
      );
    case null:
      return printable(`${container} is being migrated: ${migration.phase}`);
  }
}
