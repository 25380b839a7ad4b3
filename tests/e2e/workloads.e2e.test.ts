/** Programs that use memory in every way, moved in every mode. */
import { expect, test } from "vitest";
import type { CaseMode } from "../faults/case-terms.ts";
import { runsAll } from "../faults/choice.ts";
import { Workload, WORKLOADS, workloadOptions } from "../harness/memory-workload.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { modesOfSuite } from "./modes-of-suite.ts";
import { Stage } from "./stage.ts";

const stage = new Stage("workloads", ["debian-tools"]);
/** Those that copy it while it runs. */
const RUNNING: readonly CaseMode[] = ["pre-copy", "hybrid", "post-copy"];
const COPYING: readonly CaseMode[] = ["pre-copy", "hybrid"];
/** What the children of the shared one have written there: rounds bring it, though the process that mapped it has not. */
const SHARED_BYTES = 25 * 1024 * 1024;
/** What the sparse one has in use with everything. */
const MANY_MEGABYTES = 256;

const CASES = WORKLOADS.map(({ kind, does }, turn) => [kind, does, turn] as const);

test.each(CASES)("%s: %s", async (kind, _does, turn) => {
  const { lab } = stage;
  const address = stage.address();
  const options = workloadOptions(kind, runsAll ? MANY_MEGABYTES : undefined);
  const container = await stage.start({ node: stage.source, name: `workload-${kind}`, address, ...options });
  const workload = await Workload.open(lab, stage.source, container, kind);
  try {
    await workload.works();
    let to = stage.destination;
    for (const mode of modesOfSuite(lab.suite, { of: RUNNING, oneIn: RUNNING.length, turn })) {
      const { rounds } = await migrate(lab, container.name, to, "--mode", mode);
      await workload.works();
      if (kind === "shared" && COPYING.includes(mode)) expect(rounds.at(-1)?.bytes).toBeLessThan(SHARED_BYTES / 2);
      await assertOneCopy(lab, container, to);
      to = to === stage.destination ? stage.source : stage.destination;
    }
  } finally {
    workload.close();
  }
  await stage.nothingElseLeft();
});
