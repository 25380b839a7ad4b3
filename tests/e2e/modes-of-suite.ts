/** In which modes a test moves its container: all with everything (DRAYAGE_FAULTS=all), else some, in rotation. */
import { SUITES } from "../../deploy/lab/src/rootfs/recipe.ts";
import { runsAll } from "../faults/choice.ts";
import type { CaseMode } from "../faults/case-terms.ts";
import type { Suite } from "../harness/test-lab.ts";

const MODES: readonly CaseMode[] = ["post-copy", "hybrid", "pre-copy", "stop-copy"];

export interface Rotation {
  /** What to choose from unless everything runs; all modes if not given. */
  readonly of: readonly CaseMode[];
  /** One in so many of them; others on the next suite, and others at the next turn. */
  readonly oneIn: number;
  readonly turn: number;
}

/** If no rotation is given, every other one. */
export function modesOfSuite(
  suite: Suite,
  { of = MODES, oneIn = 2, turn = 0 }: Partial<Rotation> = {},
): readonly CaseMode[] {
  if (runsAll) return MODES;
  const first = (SUITES.indexOf(suite) + turn) % oneIn;
  return of.filter((_, index) => index % oneIn === first);
}
