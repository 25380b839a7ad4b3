/** Cancelling in each phase: before the commit the source runs on, after it, it is too late. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { fillRedis } from "../../deploy/held-client/redis.ts";
import { eventually } from "../harness/eventually.ts";
import { LineConnection } from "../harness/line-connection.ts";
import { isChosen, stageOfThisRun } from "./choice.ts";
import type { CaseMode, Role } from "./case-terms.ts";
import { play, type Scene, setFaults } from "./scenario.ts";
import { SETTLE_MS, type Stage } from "./stage.ts";

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

interface LatePlace {
  readonly role: Role;
  readonly point: string;
  readonly mode?: CaseMode;
}

const LATE: readonly LatePlace[] = [
  { role: "leader", point: "saga.before-commit" },
  { role: "destination", point: "destination.before-journal-activating" },
  { role: "source", point: "source.before-journal-finishing" },
  // The copy runs, and fetches its memory.
  { role: "destination", point: "destination.before-fetch", mode: "post-copy" },
  { role: "destination", point: "destination.before-fetch", mode: "hybrid" },
];

const CANCEL_EXIT_TOO_LATE = 4;

async function cancel({ id }: Scene): Promise<void> {
  const { exitCode, stderr } = await stage.lab.dray(["migration", "cancel", id]);
  expect(exitCode, stderr).toBe(0);
}

describe("cancelled", () => {
  for (const hold of EARLY) {
    test.runIf(isChosen(hold.point === "source.after-dump"))(`at ${hold.point}`, async () => {
      const record = await play(stage, { hold, during: cancel, outcomes: ["rolled_back"] });
      expect(record.error?.reason).toBe("CANCELLED");
    });
  }

  for (const { mode = "stop-copy", ...hold } of LATE) {
    test.runIf(isChosen(false))(`too late at ${hold.point}, ${mode}`, async () => {
      const isFetched = hold.point === "destination.before-fetch";
      await play(stage, {
        mode,
        hold,
        during: async ({ id }) => {
          if (isFetched)
            await stage.state.migrationWhen(id, ({ phase }) => phase === "fetch", "is in its phase fetch", SETTLE_MS);
          const refused = await stage.lab.dray(["migration", "cancel", id]);
          expect(refused).toMatchObject({
            exitCode: CANCEL_EXIT_TOO_LATE,
            document: { error: { reason: "TOO_LATE" } },
          });
        },
        outcomes: ["completed"],
      });
    });
  }
});

/** A round of what is written for it takes some seconds. */
const LINK = "10mbit";
const WRITTEN_MEGABYTES = 8;

async function write(): Promise<void> {
  const client = await LineConnection.open({ host: stage.container.address, port: 6379 });
  try {
    await fillRedis(client, WRITTEN_MEGABYTES);
  } finally {
    client.close();
  }
}

/** Waits until part of that round is on its way. */
async function inTheMiddleOf(round: number, id: string): Promise<void> {
  await eventually(
    async () => {
      const { document } = await stage.lab.dray<MigrationDocument>(["migration", "inspect", id]);
      const [, at, megabytes] = /^round (\d+), ([\d.]+) MB sent/.exec(document.progress?.message ?? "") ?? [];
      return Number(at) === round && Number(megabytes) > 0 ? true : undefined;
    },
    { what: `round ${round} has sent a part`, deadlineMs: SETTLE_MS, everyMs: 20 },
  );
}

/** As long as a round is held, so much is written that there is a next one. */
async function comeTo(round: number, { actors }: Scene): Promise<void> {
  for (let next = 2; next <= round; next++) {
    await write();
    const point = `source.before-round-${next}`;
    await setFaults(stage, actors, [{ role: "source", fault: { point, action: "hang" } }]);
    await stage.faults.firing(point, SETTLE_MS);
  }
  await write();
}

describe.each<CaseMode>(["pre-copy", "hybrid"])("%s, cancelled in the middle", (mode) => {
  for (const round of [1, 2, 3]) {
    test.runIf(isChosen(mode === "pre-copy" && round === 1))(`of round ${round}: the source runs on`, async () => {
      const record = await play(stage, {
        mode,
        // Never to be met: what is left after two rounds is no reason to end them.
        options: ["--max-downtime", "1ms"],
        hold: { role: "source", point: "source.before-round-1" },
        during: async (scene) => {
          await comeTo(round, scene);
          await stage.lab.link(scene.actors.source, LINK);
        },
        afterwards: async (scene) => {
          try {
            await inTheMiddleOf(round, scene.id);
            await cancel(scene);
            await stage.state.migrationWhen(scene.id, ({ phase }) => phase === "done", "is done", SETTLE_MS);
          } finally {
            await stage.lab.link(scene.actors.source, "none");
          }
        },
        outcomes: ["rolled_back"],
      });
      expect(record.error?.reason).toBe("CANCELLED");
      // Those that have ended: the one that was cancelled has not.
      expect(record.rounds.length).toBe(round - 1);
    });
  }
});
