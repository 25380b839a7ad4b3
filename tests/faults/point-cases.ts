/**
 * Every named point at which a program may die, and what must become of the migration. Points that a migration passes
 * only when something else goes wrong need a cause; points-in-code.test.ts demands that none is forgotten.
 */
import { type CaseMode, type FaultOf, FETCHING, type Outcome, type Place, ROUNDS, type Role } from "./case-terms.ts";
import {
  CANCEL,
  CUT_OFF_DESTINATION,
  CUT_OFF_FETCHING_DESTINATION,
  CUT_OFF_FROZEN_SOURCE,
  CUT_OFF_SOURCE,
  type Deed,
  KILL_COPY,
  RESTART_DOCKER,
  RESTART_DOCKER_BEFORE_THAW,
} from "./deeds.ts";
import type { Fault } from "./fault-points.ts";

export type Cause = readonly FaultOf[] | Deed;

export interface PointCase extends Place {
  readonly outcomes: readonly Outcome[];
  /** Default: stop-copy. */
  readonly mode?: CaseMode;
  /** What leads to this point: faults elsewhere, or something that is done. */
  readonly because?: Cause;
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
const inMode = (mode: CaseMode, all: readonly PointCase[]): PointCase[] => all.map((each) => ({ ...each, mode }));
const states = (names: readonly string[]) => names.map((name) => `journal-${name}`);

/** Beside stop-copy, which passes all points but those of the others' own. */
const OTHER_MODES: readonly CaseMode[] = ["pre-copy", "post-copy", "hybrid"];

const fault = (role: Role, action: Fault["action"], point: string): FaultOf => ({ role, fault: { point, action } });

const RESTORE_FAILS = [fault("destination", "error", "destination.before-restore")];
const FREEZE_FAILS = [fault("source", "error", "source.after-freeze")];
const LEADER_DIES_BEFORE_COMMIT = [fault("leader", "kill", "saga.before-commit")];
const LEADER_DIES_AFTER_COMMIT = [fault("leader", "kill", "saga.after-commit")];
/** The leader takes the commit for failed, and learns on the way back that it was not. */
const COMMIT_WINS = [
  fault("leader", "error", "saga.after-commit"),
  fault("destination", "hang", "destination.before-journal-activating"),
];

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
  ...cases("destination", around("destination.", ["confirm-running"]), completed),
  ...cases("destination", around("destination.", states(["running", "finished"])), completed),
  ...cases("destination", around("destination.", states(["aborting", "aborted"])), rolledBack, FREEZE_FAILS),
  ...cases("destination", around("destination.", ["journal-declining", "give-back"]), rolledBack, KILL_COPY),
  // The agent that comes back has to see by itself that nobody holds the copy any more.
  ...cases("destination", around("destination.", ["journal-declining"]), rolledBack, RESTART_DOCKER),
  ...cases("destination", ["destination.after-journal-activating"], rolledBack, RESTART_DOCKER_BEFORE_THAW),

  ...cases("destination", around("gate.", ["record-armed", "record-released", "record-prepared"]), rolledBack),
  ...cases("destination", around("gate.", ["record-committing", "record-committed"]), completed),
  ...cases("destination", around("gate.", ["record-failed"]), rolledBack, FREEZE_FAILS),

  ...cases(
    "leader",
    around("saga.", ["accept", "phase-reserve", "phase-sync", "phase-switch", "enter-switch"]),
    either,
  ),
  ...ROUNDS.flatMap((mode) =>
    inMode(mode, [
      ...cases("source", around("source.", states(["synced"])), rolledBack),
      ...cases("source", ["source.before-round-1", "source.before-round-2"], rolledBack),
      ...cases("source", ["source.before-freeze", "source.after-freeze"], rolledBack),
      // The rounds lie there.
      ...cases("destination", around("destination.", states(["holding"])), rolledBack),
      ...cases("destination", around("destination.", states(["aborting"])), rolledBack, FREEZE_FAILS),
      ...cases("leader", around("saga.", ["phase-sync"]), either),
      ...cases("leader", ["saga.after-commit"], completed),
    ]),
  ),
  ...OTHER_MODES.flatMap((mode) =>
    inMode(mode, [
      ...cases("source", ["source.after-dump", ...around("source.", states(["sent"]))], rolledBack),
      ...cases(
        "destination",
        ["destination.before-restore", "destination.before-pages-complete", "destination.after-restore"],
        rolledBack,
      ),
      ...cases("destination", around("destination.", states(["prepared"])), rolledBack),
      ...cases("destination", ["destination.after-thaw", ...around("destination.", states(["finished"]))], completed),
    ]),
  ),
  ...FETCHING.flatMap((mode) =>
    inMode(mode, [
      // It serves from the moment in which it stands still, before the commit.
      ...cases("source", ["source.before-serving-pages"], either),
      ...cases("source", around("source.", states(["finishing"])), completed),
      ...cases("destination", around("destination.", states(["activating", "fetching", "running"])), completed),
      ...cases("destination", ["destination.before-fetch", ...around("destination.", ["confirm-running"])], completed),
      ...cases("leader", around("saga.", ["phase-fetch"]), completed),
    ]),
  ),
  // With a fault server on the one side, on the other a source that serves; as in hybrid, which has the rounds beside.
  ...inMode("post-copy", [
    ...cases("source", ["source.after-freeze"], rolledBack),
    ...cases("source", around("source.", ["own-transaction", ...states(["aborting"])]), rolledBack, RESTORE_FAILS),
    ...cases("source", around("source.", states(["finished"])), completed),
    ...cases("destination", around("destination.", states(["aborting", "aborted"])), rolledBack, FREEZE_FAILS),
    ...cases("destination", around("destination.", ["journal-declining", "give-back"]), rolledBack, KILL_COPY),
    ...cases("destination", around("gate.", ["record-released", "record-prepared"]), rolledBack),
    ...cases("destination", around("gate.", ["record-committing", "record-committed"]), completed),
    ...cases("leader", ["saga.before-commit"], either),
    ...cases("leader", ["saga.after-commit"], completed),
    ...cases("leader", around("saga.", ["phase-activate"]), completed, COMMIT_WINS),
    ...cases("leader", ["saga.after-outcome-unknown"], completed, CUT_OFF_FETCHING_DESTINATION),
  ]),

  ...cases("leader", ["saga.before-commit"], either),
  ...cases("leader", ["saga.after-commit", ...around("saga.", ["phase-finish", "done"])], completed),
  ...cases("leader", around("saga.", ["phase-abort", "done"]), rolledBack, RESTORE_FAILS),
  ...cases("leader", around("saga.", ["phase-activate"]), completed, COMMIT_WINS),
  ...cases("leader", ["saga.before-cancel"], either, CANCEL),
  ...cases("leader", ["saga.after-cancel"], rolledBack, CANCEL),
  ...cases("leader", around("saga.", ["outcome-unknown"]), rolledBack, CUT_OFF_FROZEN_SOURCE),
  ...cases("leader", around("saga.", ["outcome-unknown"]), completed, CUT_OFF_DESTINATION),
  ...cases("leader", around("saga.", ["outcome-completed"]), completed, CUT_OFF_SOURCE),
  ...cases("leader", ["election.won"], either, LEADER_DIES_BEFORE_COMMIT),
  ...cases("leader", ["election.won"], completed, LEADER_DIES_AFTER_COMMIT),
];

export function titleOf({ role, point, because, mode }: PointCase): string {
  const cause = because === undefined ? "" : ` after ${nameOf(because)}`;
  return `${role} killed at ${point}${cause}${mode === undefined ? "" : `, ${mode}`}`;
}

export function isDeed(cause: Cause): cause is Deed {
  return "perform" in cause;
}

function nameOf(cause: Cause): string {
  if (isDeed(cause)) return cause.title;
  return cause.map(({ fault: { action, point } }) => `${action} at ${point}`).join(" and ");
}
