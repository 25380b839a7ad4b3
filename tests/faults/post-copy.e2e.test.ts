/** What may happen while a copy runs and its memory is still with the source. */
import { afterAll, beforeAll, describe, test } from "vitest";
import type { CaseMode, Place } from "./case-terms.ts";
import { isChosen, stageOfThisRun } from "./choice.ts";
import { isAgent, killOnAppearance } from "./node-processes.ts";
import { play, type Scene } from "./scenario.ts";
import { SETTLE_MS, type Stage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await stageOfThisRun();
});
afterAll(async () => {
  await stage?.close();
});

/** The copy runs, and has fetched nothing that it has not waited for. */
const RUNS: Place = { role: "destination", point: "destination.before-fetch" };
const MODES: readonly CaseMode[] = ["post-copy", "hybrid"];

async function cutFor(scene: Scene, whose: "source" | "destination", body: () => Promise<void>): Promise<void> {
  await scene.stage.partition(scene.actors[whose]);
  await body();
  await scene.stage.heal(scene.actors[whose]);
}

describe.each(MODES)("%s, while memory is on its way", (mode) => {
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

const isFaultServer = ([program = ""]: readonly string[]) => program.endsWith("/drayage-fault-server");

function kill(node: string, accept: (words: readonly string[]) => boolean): Promise<void> {
  return killOnAppearance(stage.lab, node, accept, SETTLE_MS);
}
