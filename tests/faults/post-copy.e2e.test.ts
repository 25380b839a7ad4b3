/** What may happen while a copy runs and its memory is still with the source. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { LineConnection } from "../../deploy/held-client/line-connection.ts";
import { runningCopies } from "../harness/one-copy.ts";
import { FETCHING, type Place } from "./case-terms.ts";
import { isChosen, stageOfThisRun } from "./choice.ts";
import { isAgent, killOnAppearance } from "./node-processes.ts";
import { assertEnd, leadElsewhere, play, type Scene, setFaults } from "./scenario.ts";
import { type Actors, NAME, SETTLE_MS, type Stage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await stageOfThisRun();
});
afterAll(async () => {
  await stage?.close();
});

/** The copy runs, and has fetched nothing that it has not waited for. */
const RUNS: Place = { role: "destination", point: "destination.before-fetch" };

async function cutFor(scene: Scene, whose: "source" | "destination", body: () => Promise<void>): Promise<void> {
  await scene.stage.partition(scene.actors[whose]);
  await body();
  await scene.stage.heal(scene.actors[whose]);
}

describe.each(FETCHING)("%s, while memory is on its way", (mode) => {
  test.runIf(isChosen(mode === "post-copy"))("the source is cut off and comes back", async () => {
    await play(stage, {
      mode,
      hold: RUNS,
      during: async (scene) => {
        await scene.stage.partition(scene.actors.source);
      },
      // It goes on with the link cut: what it needs it waits for.
      afterwards: async (scene) => {
        await scene.stage.state.migrationWhen(scene.id, ({ phase }) => phase === "fetch", "fetches", SETTLE_MS);
        await scene.stage.heal(scene.actors.source);
      },
      outcomes: ["completed"],
    });
  });

  test.runIf(isChosen(false))("the destination is cut off and comes back", async () => {
    await play(stage, {
      mode,
      hold: RUNS,
      during: (scene) => cutFor(scene, "destination", async () => undefined),
      outcomes: ["completed"],
    });
  });

  test.runIf(isChosen(false))("the source's agent is killed", async () => {
    await play(stage, {
      mode,
      hold: RUNS,
      during: ({ actors }) => kill(actors.source, isAgent),
      outcomes: ["completed"],
    });
  });

  test.runIf(isChosen(mode === "hybrid"))("the program that answers the copy's faults is killed", async () => {
    await play(stage, {
      mode,
      hold: RUNS,
      during: ({ actors }) => kill(actors.destination, isFaultServer),
      outcomes: ["completed"],
    });
  });
});

/** A post-copy that hangs where the copy runs, without most of its memory. */
async function beginHeldPostCopy(): Promise<Actors & { readonly id: string }> {
  const actors = await stage.set();
  await setFaults(stage, actors, [{ role: RUNS.role, fault: { point: RUNS.point, action: "hang" } }]);
  const id = await stage.begin(actors.destination, "--mode", "post-copy");
  await stage.faults.firing(RUNS.point, SETTLE_MS);
  return { ...actors, id };
}

/** Asks for what has not been fetched. Whether there is an answer is asked afterwards: the connection may never end. */
async function askForColdMemory(): Promise<() => boolean> {
  const reader = await LineConnection.open({ host: stage.container.address, port: 6379 });
  let isAnswered = false;
  reader.ask("BITCOUNT fill:0\r\n").then(
    () => (isAnswered = true),
    () => undefined,
  );
  return () => {
    reader.close();
    return isAnswered;
  };
}

/** What an operator does with a copy that cannot get its memory any more. */
async function endByHand(id: string, destination: string, isAnswered: () => boolean): Promise<void> {
  await stage.lab.docker(destination, "kill", NAME);
  expect(isAnswered(), "what it waited for never came").toBe(false);
  const end = await stage.settled(id);
  // It belongs to the destination, and has ended there like any container that somebody kills.
  expect(end.outcome, end.reason).toBe("completed");
  await stage.assertStopped(destination);
  await stage.lab.docker(destination, "start", NAME);
  await stage.connectWhenUp();
}

const LOSSES = [
  { mode: "post-copy", hold: RUNS },
  { mode: "hybrid", hold: RUNS },
  { mode: "post-copy", hold: { role: "leader", point: "saga.before-commit" } },
] as const;

/** What has not been fetched is lost with its host. What an operator sees then, and what he can do. */
describe.each(LOSSES)("$mode, power cut of the source at $hold.point", ({ mode, hold }) => {
  test.runIf(isChosen(false))("the copy waits for good, is ended, and started anew", async () => {
    const before = await stage.set();
    // Under the runtime `drayage` on the source: what runs under plain runc there has nobody who could refuse its start.
    await assertEnd(stage, before, await stage.settled(await stage.begin(before.destination)), ["completed"]);
    const actors = await stage.set();
    const { source, destination } = actors;
    await leadElsewhere(stage, actors);
    await setFaults(stage, actors, [{ role: hold.role, fault: { point: hold.point, action: "hang" } }]);
    const id = await stage.begin(destination, "--mode", mode);
    await stage.faults.firing(hold.point, SETTLE_MS);
    await stage.cutPower(source);
    await stage.faults.clear(await stage.nodesThatRun());
    await stage.state.migrationWhen(id, ({ phase }) => phase === "fetch", "fetches", SETTLE_MS);
    const isAnswered = await askForColdMemory();
    await stage.restorePower(source);
    await stage.lab.ready();

    // By itself nobody starts it there; nor can it be done by hand.
    const again = await stage.lab.tryExec(source, ["docker", "start", NAME]);
    expect(again.exitCode).not.toBe(0);
    expect(again.stderr).toContain(`migration ${id} has not ended on this node`);
    expect(await runningCopies(stage.lab, stage.container.mark)).toEqual([destination]);
    for (const options of [[], ["--allow-progress-loss"]]) {
      const { exitCode } = await stage.lab.dray(["migration", "cancel", id, ...options]);
      expect(exitCode, "it is too late to cancel").toBe(4);
    }
    const { document } = await stage.lab.dray<MigrationDocument>(["migration", "inspect", id]);
    expect(document).toMatchObject({ phase: "fetch", outcome: null, progress: { step: "fetch-memory" } });
    expect(document.progress?.done_bytes).toBeLessThan(document.progress?.total_bytes ?? 0);

    await endByHand(id, destination, isAnswered);
    await stage.assertSound(destination, { onwards: source });
  });
});

test.runIf(isChosen(false))(
  "the source is unpaused: it stands still again, and the copy gets nothing of what has run on",
  async () => {
    const { id, source, destination } = await beginHeldPostCopy();
    await stage.lab.docker(source, "unpause", NAME);
    await stage.standsStill(source);
    await stage.faults.clear();
    const isAnswered = await askForColdMemory();
    const refusal = { unit: "drayage-agent", texts: [id, "has run on"], deadlineMs: SETTLE_MS };
    await stage.lab.journalLine(source, refusal);
    expect(await runningCopies(stage.lab, stage.container.mark)).toEqual([destination]);
    await endByHand(id, destination, isAnswered);
    await stage.assertSound(destination, { onwards: source });
  },
);

/** What systemd says of the fault server's unit, and how many descriptors it holds for it. */
async function faultServerUnit(node: string, id: string): Promise<{ state: string; held: number }> {
  const properties = ["--property=ActiveState", "--property=NFileDescriptorStore"];
  const shown = await stage.lab.exec(node, ["systemctl", "show", ...properties, `drayage-faults-${id}`]);
  const of = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(shown)?.[1] ?? "";
  return { state: of("ActiveState"), held: Number(of("NFileDescriptorStore")) };
}

test.runIf(isChosen(false))(
  "all of the program that answers the copy's faults is killed at once: the copy stands still, and reads no zeros",
  async () => {
    const { id, source, destination } = await beginHeldPostCopy();
    await stage.partition(source);
    const isAnswered = await askForColdMemory();
    const waits = "until cat /proc/[0-9]*/task/*/wchan 2>/dev/null | grep -q userfault; do sleep 0.05; done";
    await stage.lab.shell(destination, waits);
    const { held } = await faultServerUnit(destination, id);
    expect(held).toBeGreaterThan(0);
    await stage.lab.exec(destination, ["systemctl", "kill", "--signal=KILL", `drayage-faults-${id}`]);
    await stage.standsStill(destination);
    expect(await faultServerUnit(destination, id)).toEqual({ state: "active", held });
    await stage.heal(source);
    await stage.faults.clear();
    const { outcome, error, reason } = await stage.state.migrationWhen(
      id,
      ({ phase }) => phase === "done",
      "is done",
      SETTLE_MS,
    );
    expect(outcome, reason).toBe("failed");
    expect(error?.message).toContain("its fault server was killed; the copy stands still, without all of its memory");
    await stage.standsStill(destination);
    await stage.standsStill(source);
    expect(isAnswered(), "what it waited for never came").toBe(false);

    // As the remedy has it. The answers of the copy are given up, so its clients begin anew.
    expect(error?.remedy).toContain(`docker rm --force ${NAME}`);
    await stage.lab.docker(destination, "rm", "--force", NAME);
    const { exitCode, stderr } = await stage.lab.dray(["migration", "cancel", id, "--allow-progress-loss"]);
    expect(exitCode, stderr).toBe(0);
    const end = await stage.settled(id);
    expect(end.outcome, end.reason).toBe("rolled_back");
    expect(isAnswered(), "what it waited for never came").toBe(false);
    expect(await faultServerUnit(destination, id)).toEqual({ state: "inactive", held: 0 });
    await stage.connectWhenUp();
    await stage.assertSound(source, { onwards: destination });
  },
);

const isFaultServer = ([program = ""]: readonly string[]) => program.endsWith("/drayage-fault-server");

function kill(node: string, accept: (words: readonly string[]) => boolean): Promise<void> {
  return killOnAppearance(stage.lab, node, accept, SETTLE_MS);
}
