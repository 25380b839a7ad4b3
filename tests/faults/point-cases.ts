/**
 * Every named point at which a program may die, and what must become of the migration. Points in code that only a
 * failing migration passes need a fault that makes it fail: `because`.
 */
import type { Fault } from "./fault-points.ts";

export type Role = "source" | "destination" | "leader";
export type Outcome = "completed" | "rolled_back";

export interface PointCase {
  readonly role: Role;
  readonly point: string;
  readonly outcomes: readonly Outcome[];
  /** A fault elsewhere that leads to this point. */
  readonly because?: { readonly role: Role; readonly fault: Fault };
}

const completed: readonly Outcome[] = ["completed"];
const rolledBack: readonly Outcome[] = ["rolled_back"];
/** A leader's death leaves it to the next one whether it goes on. */
const either: readonly Outcome[] = ["completed", "rolled_back"];

const around = (prefix: string, names: readonly string[]): string[] =>
  names.flatMap((name) => [`${prefix}before-${name}`, `${prefix}after-${name}`]);
const cases = (
  role: Role,
  points: readonly string[],
  outcomes: readonly Outcome[],
  because?: PointCase["because"],
): PointCase[] => points.map((point) => ({ role, point, outcomes, ...(because === undefined ? {} : { because }) }));
const states = (names: readonly string[]) => names.map((name) => `journal-${name}`);

const RESTORE_FAILS = { role: "destination", fault: { point: "destination.before-restore", action: "error" } } as const;
const FREEZE_FAILS = { role: "source", fault: { point: "source.after-freeze", action: "error" } } as const;

export const POINT_CASES: readonly PointCase[] = [
  ...cases("source", around("source.", states(["syncing", "synced", "switching"])), rolledBack),
  ...cases("source", ["source.before-freeze", "source.after-freeze", "source.after-dump"], rolledBack),
  ...cases("source", around("source.", states(["sent"])), rolledBack),
  ...cases("source", around("source.", states(["finishing", "finished"])), completed),
  ...cases(
    "source",
    around("source.", ["own-transaction", ...states(["aborting", "aborted"])]),
    rolledBack,
    RESTORE_FAILS,
  ),

  ...cases("destination", around("destination.", states(["reserving", "created", "reserved", "holding"])), rolledBack),
  ...cases(
    "destination",
    ["destination.before-restore", "destination.before-pages-complete", "destination.after-restore"],
    rolledBack,
  ),
  ...cases("destination", around("destination.", states(["prepared"])), rolledBack),
  ...cases("destination", around("destination.", states(["activating"])), completed),
  ...cases("destination", ["destination.after-thaw"], completed),
  ...cases("destination", around("destination.", states(["running", "finished"])), completed),
  ...cases("destination", around("destination.", states(["aborting", "aborted"])), rolledBack, FREEZE_FAILS),

  ...cases("destination", around("gate.", ["record-released", "record-prepared"]), rolledBack),
  ...cases("destination", around("gate.", ["record-committing", "record-committed"]), completed),
  ...cases("destination", around("gate.", ["record-failed"]), rolledBack, FREEZE_FAILS),

  ...cases(
    "leader",
    around("saga.", ["accept", "phase-reserve", "phase-sync", "phase-switch", "enter-switch"]),
    either,
  ),
  ...cases("leader", ["saga.before-commit"], either),
  ...cases("leader", ["saga.after-commit", ...around("saga.", ["phase-finish", "done"])], completed),
  ...cases("leader", around("saga.", ["phase-abort", "done"]), rolledBack, RESTORE_FAILS),
];

export function titleOf({ role, point, because }: PointCase): string {
  const cause = because === undefined ? "" : ` after ${because.fault.action} at ${because.fault.point}`;
  return `${role} killed at ${point}${cause}`;
}
