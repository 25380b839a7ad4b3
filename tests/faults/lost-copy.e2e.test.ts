/**
 * The destination's power is cut after it has journaled that it thaws, before all is there and durable. Nobody can tell
 * whether the copy has run, or it has, without all of its memory: the source stays frozen until an operator has
 * decided, and what the error tells him to do works.
 */
import type { MigrationRecord } from "@drayage/shared/state/migration.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runningCopies } from "../harness/one-copy.ts";
import type { CaseMode } from "./case-terms.ts";
import { isChosen, stageOfThisRun } from "./choice.ts";
import { setFaults } from "./scenario.ts";
import { type Actors, NAME, SETTLE_MS, type Stage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await stageOfThisRun();
});
afterAll(async () => {
  await stage?.close();
});

const BEFORE_THAW = "destination.after-journal-activating";
const AFTER_THAW = "destination.after-thaw";
const BEFORE_FETCH = "destination.before-fetch";
const MODES: Readonly<Record<string, CaseMode>> = { [BEFORE_FETCH]: "post-copy" };

const copies = async () => await runningCopies(stage.lab, stage.container.mark, await stage.nodesThatRun());

/** Cuts the destination's power at that point, and brings it back; resolves when the migration has ended. */
async function cutAt(point: string): Promise<{ readonly actors: Actors; readonly record: MigrationRecord }> {
  const actors = await stage.set();
  const { source, destination } = actors;
  await setFaults(stage, actors, [{ role: "destination", fault: { point, action: "hang" } }]);
  const id = await stage.begin(destination, "--mode", MODES[point] ?? "stop-copy");
  await stage.faults.firing(point, SETTLE_MS);
  // What it does then is lost to the source.
  if (point === AFTER_THAW) await stage.client.moreReplies(1, SETTLE_MS);
  expect(await copies()).toEqual(point === BEFORE_THAW ? [] : [destination]);
  await stage.cutPower(destination);
  await stage.faults.clear(await stage.nodesThatRun());
  await stage.restorePower(destination);
  const record = await stage.state.migrationWhen(id, ({ phase }) => phase === "done", "is done", SETTLE_MS);
  expect(record.outcome, record.reason).toBe("failed");
  expect(record.error?.node).toBe(destination);
  expect(record.reason).toContain(`the copy on ${source} is kept frozen`);
  expect(await copies()).toEqual([]);
  return { actors, record };
}

/** The command that the remedy names. */
function commandOf({ error, id }: MigrationRecord): string[] {
  const command = /`dray ([^`]+)`/.exec(error?.remedy ?? "")?.[1];
  expect(command).toBe(`migration cancel ${id} --allow-progress-loss`);
  return command?.split(" ") ?? [];
}

async function followRemedy(record: MigrationRecord): Promise<void> {
  const { exitCode, stderr } = await stage.lab.dray(commandOf(record));
  expect(exitCode, stderr).toBe(0);
}

describe("power cut of the destination", () => {
  for (const point of [BEFORE_THAW, AFTER_THAW, BEFORE_FETCH]) {
    test.runIf(isChosen(false))(`at ${point}, and the container goes on where it was frozen`, async () => {
      const { actors, record } = await cutAt(point);
      const unforced = await stage.lab.dray(["migration", "cancel", record.id]);
      expect(unforced.exitCode, "without the flag nothing is given up").toBe(4);
      const again = await stage.lab.tryExec(actors.destination, ["docker", "start", NAME]);
      expect(again.exitCode).not.toBe(0);
      expect(again.stderr).toContain(`migration ${record.id} has not ended on this node`);
      await followRemedy(record);
      const end = await stage.settled(record.id);
      expect(end.outcome, end.reason).toBe("rolled_back");
      // Its peer has had answers from the copy that the source knows nothing of.
      if (point !== BEFORE_THAW) await stage.connectWhenUp();
      await stage.assertSound(actors.source, { onwards: actors.destination });
      expect((await stage.lab.dray(commandOf(record))).exitCode, "there is nothing to take back any more").toBe(4);
    });
  }

  test.runIf(isChosen(false))(`at ${AFTER_THAW}, and the container is started anew`, async () => {
    const { actors, record } = await cutAt(AFTER_THAW);
    await stage.lab.docker(actors.source, "kill", NAME);
    await followRemedy(record);
    const end = await stage.settled(record.id);
    expect(end.reason).toContain(`does not run on ${actors.source} any more`);
    await stage.assertStopped(actors.source);
    await stage.lab.docker(actors.source, "start", NAME);
    await stage.connectWhenUp();
    await stage.assertSound(actors.source, { onwards: actors.destination });
  });

  for (const mode of ["stop-copy", "post-copy"]) {
    test.runIf(isChosen(false))(
      `in ${mode}, when its running is durable, and the journal does not say so yet`,
      async () => {
        const actors = await stage.set();
        const point = "destination.after-confirm-running";
        await setFaults(stage, actors, [{ role: "destination", fault: { point, action: "hang" } }]);
        const id = await stage.begin(actors.destination, "--mode", mode);
        await stage.faults.firing(point, SETTLE_MS);
        await stage.cutPower(actors.destination);
        await stage.faults.clear(await stage.nodesThatRun());
        await stage.restorePower(actors.destination);
        const record = await stage.settled(id);
        expect(record.outcome, record.reason).toBe("completed");
        // It has ended with its host, like any container whose restart policy is "no".
        await stage.assertStopped(actors.destination);
        await stage.lab.docker(actors.destination, "start", NAME);
        await stage.connectWhenUp();
        await stage.assertSound(actors.destination, { onwards: actors.source });
      },
    );
  }
});
