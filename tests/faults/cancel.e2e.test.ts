/** Cancelling in each phase: before the commit the source runs on, after it, it is too late. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isChosen, stageOfThisRun } from "./choice.ts";
import type { Role } from "./case-terms.ts";
import { play } from "./scenario.ts";
import type { Stage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await stageOfThisRun();
});
afterAll(async () => {
  await stage?.close();
});

const EARLY: readonly { readonly role: Role; readonly point: string }[] = [
  { role: "destination", point: "destination.before-journal-created" },
  { role: "destination", point: "destination.before-journal-reserved" },
  { role: "source", point: "source.before-journal-synced" },
  { role: "destination", point: "destination.after-journal-holding" },
  { role: "source", point: "source.before-freeze" },
  { role: "source", point: "source.after-dump" },
  { role: "destination", point: "destination.before-restore" },
  { role: "destination", point: "destination.after-journal-prepared" },
];

const LATE: typeof EARLY = [
  { role: "leader", point: "saga.before-commit" },
  { role: "destination", point: "destination.before-journal-activating" },
  { role: "source", point: "source.before-journal-finishing" },
];

const CANCEL_EXIT_TOO_LATE = 4;

describe("cancelled", () => {
  for (const hold of EARLY) {
    test.runIf(isChosen(hold.point === "source.after-dump"))(`at ${hold.point}`, async () => {
      const record = await play(stage, {
        hold,
        during: async ({ id }) => {
          const { exitCode, stderr } = await stage.lab.dray(["migration", "cancel", id]);
          expect(exitCode, stderr).toBe(0);
        },
        outcomes: ["rolled_back"],
      });
      expect(record.error?.reason).toBe("CANCELLED");
    });
  }

  for (const hold of LATE) {
    test.runIf(isChosen(false))(`too late at ${hold.point}`, async () => {
      await play(stage, {
        hold,
        during: async ({ id }) => {
          const { exitCode } = await stage.lab.dray(["migration", "cancel", id]);
          expect(exitCode).toBe(CANCEL_EXIT_TOO_LATE);
        },
        outcomes: ["completed"],
      });
    });
  }
});
