/** What may happen between two rounds of memory, while the container runs. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
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

const MODES: readonly CaseMode[] = ["pre-copy", "hybrid"];
const HOLDS: readonly Place[] = [
  { role: "source", point: "source.before-round-1" },
  { role: "source", point: "source.before-round-2" },
];

const CASES = MODES.flatMap((mode) => HOLDS.map((hold) => ({ mode, hold, point: hold.point })));

describe.each(CASES)("$mode, held at $point", ({ mode, hold }) => {
  const isCore = mode === "pre-copy" && hold === HOLDS[1];

  // The short list has one that is cancelled in the middle of a round (cancel.e2e.test.ts).
  test.runIf(isChosen(false))("it is cancelled", async () => {
    const cancel = async ({ id }: Scene) => {
      const { exitCode, stderr } = await stage.lab.dray(["migration", "cancel", id]);
      expect(exitCode, stderr).toBe(0);
    };
    const record = await play(stage, { mode, hold, during: cancel, outcomes: ["rolled_back"] });
    expect(record.error?.reason).toBe("CANCELLED");
  });

  test.runIf(isChosen(false))("the destination's agent is killed", async () => {
    await play(stage, {
      mode,
      hold,
      during: ({ actors }) => killOnAppearance(stage.lab, actors.destination, isAgent, SETTLE_MS),
      outcomes: ["rolled_back"],
    });
  });

  test.runIf(isChosen(false))("the link is cut and comes back", async () => {
    await play(stage, {
      mode,
      hold,
      during: ({ actors }) => stage.partition(actors.destination),
      afterwards: async ({ id, actors }) => {
        await stage.state.migrationWhen(
          id,
          ({ phase }) => phase === "abort" || phase === "done",
          "gives up",
          SETTLE_MS,
        );
        await stage.heal(actors.destination);
      },
      outcomes: ["rolled_back"],
    });
  });

  test.runIf(isChosen(isCore))("the link becomes slow: the rounds go on over it", async () => {
    await play(stage, {
      mode,
      hold,
      during: async ({ actors }) => {
        await stage.lab.link(actors.source, "20mbit");
      },
      afterwards: async ({ id, actors }) => {
        await stage.state.migrationWhen(id, ({ phase }) => phase === "done", "is done", SETTLE_MS);
        await stage.lab.link(actors.source, "none");
      },
      outcomes: ["completed"],
    });
  });
});
