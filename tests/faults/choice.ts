/** Which cases run: a short list with all other tests, everything with DRAYAGE_FAULTS=all. */
import { Stage } from "./stage.ts";

const runsAll = process.env["DRAYAGE_FAULTS"] === "all";

export const CORE_POINTS: readonly string[] = [
  "source killed at source.after-freeze",
  "source killed at source.after-journal-sent",
  "destination killed at destination.after-journal-prepared",
  "destination killed at destination.after-thaw",
  "leader killed at saga.before-commit",
  "leader killed at saga.after-commit",
];

export function isChosen(isCore: boolean): boolean {
  return isCore || runsAll;
}

/** Opens the stage in the lab that DRAYAGE_LAB names. */
export async function stageOfThisRun(): Promise<Stage> {
  const name = process.env["DRAYAGE_LAB"];
  if (name === undefined) throw new Error("DRAYAGE_LAB names no lab; see tests/run.ts");
  return await Stage.open(name);
}
