/** Which cases run: a short list with all other tests, on one suite; everything, on each, with DRAYAGE_FAULTS=all. */
import { TestLab } from "../harness/test-lab.ts";
import { Stage } from "./stage.ts";

const name = process.env["DRAYAGE_LAB"];
if (name === undefined) throw new Error("DRAYAGE_LAB names no lab; see tests/run.ts");
const lab = name;

export const runsAll = process.env["DRAYAGE_FAULTS"] === "all";
const runsCore = (await TestLab.open(lab)).suite === "forky";

/** Titles of the point cases of the short list: one at each place where the way on and the way back part. */
export const CORE_POINTS: readonly string[] = [
  "source killed at source.after-freeze",
  "source killed at source.after-journal-sent",
  "destination killed at destination.after-journal-prepared",
  "destination killed at destination.after-thaw",
  "leader killed at saga.before-commit",
  "leader killed at saga.after-commit",
  "source killed at source.before-serving-pages, post-copy",
  "destination killed at destination.after-journal-fetching, post-copy",
  "destination killed at destination.before-fetch, post-copy",
];

export function isChosen(isCore: boolean): boolean {
  return runsAll || (isCore && runsCore);
}

/** Opens the stage in the lab that DRAYAGE_LAB names. */
export function stageOfThisRun(): Promise<Stage> {
  return Stage.open(lab);
}
