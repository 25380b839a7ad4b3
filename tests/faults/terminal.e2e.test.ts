/** A container with a terminal whose restore fails: for it, `create` lasts as long as the restore. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { addressIndex } from "../harness/address-ranges.ts";
import { knownToCluster, removeContainer, startContainer } from "../harness/containers.ts";
import { eventually } from "../harness/eventually.ts";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { typeAt } from "../harness/terminal.ts";
import { isChosen, stageOfThisRun } from "./choice.ts";
import { setFaults } from "./scenario.ts";
import { SETTLE_MS, type Stage } from "./stage.ts";

const TERMINAL = "terminal";

let stage: Stage;
beforeAll(async () => {
  stage = await stageOfThisRun();
});
afterAll(async () => {
  await stage?.close();
});

test.runIf(isChosen(true))("a terminal's restore fails: a clear error, and its shell goes on", async () => {
  const actors = await stage.set();
  const { source, destination } = actors;
  const { lab } = stage;
  await lab.images(["debian-tools"], [source]);
  try {
    const container = await startContainer(lab, {
      node: source,
      name: TERMINAL,
      image: "debian-tools:latest",
      address: lab.freeAddress(addressIndex("faults terminal", 0)),
      options: ["--interactive", "--tty"],
      command: ["bash", "--norc", "--noprofile"],
    });
    await typeAt(lab, source, TERMINAL, "kept=$((40 + 2))");
    await knownToCluster(lab, TERMINAL);
    const point = "destination.before-pages-complete";
    await setFaults(stage, actors, [{ role: "destination", fault: { point, action: "hang" } }]);
    const moving = lab.dray<MigrationDocument>(["migrate", TERMINAL, "--to", destination]);
    await stage.faults.firing(point, SETTLE_MS);
    const id = (await stage.state.migrations()).at(-1)?.id;
    await lab.exec(destination, ["rm", `/run/drayage/images/${id}/pagemap-1.img`]);
    await stage.faults.clear();
    const { exitCode, document, stderr } = await moving;
    expect(exitCode, stderr).not.toBe(0);
    expect(document.outcome).toBe("rolled_back");
    expect(document.error).toMatchObject({ reason: "CRIU_RESTORE_FAILED", node: destination });
    expect(document.error?.remedy).not.toBe("");
    await stage.settled(document.id);
    await typeAt(lab, source, TERMINAL, 'echo "kept is $kept"');
    await eventually(async () => (/^kept is 42/m.test(await lab.docker(source, "logs", TERMINAL)) ? true : undefined), {
      what: "the shell answers",
      deadlineMs: SETTLE_MS,
    });
    await assertOneCopy(lab, container, source, { settleMs: SETTLE_MS });
  } finally {
    await removeContainer(lab, TERMINAL);
  }
  await stage.assertSound(source, { onwards: destination });
});
