/** In which modes a test moves its container: all with everything (DRAYAGE_FAULTS=all), else two on each suite. */
import { runsAll } from "../faults/choice.ts";
import type { Suite } from "../harness/test-lab.ts";

const MODES = {
  forky: ["post-copy", "pre-copy"],
  trixie: ["hybrid", "stop-copy"],
} as const satisfies Record<Suite, readonly string[]>;

export function modesOfSuite(suite: Suite): readonly string[] {
  return runsAll ? [...MODES.forky, ...MODES.trixie] : MODES[suite];
}
