/** Several migrations at once. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HeldConnection } from "../../deploy/held-client/held-connection.ts";
import { addressIndex } from "../harness/address-ranges.ts";
import { removeContainer, type StartedContainer, startRedis } from "../harness/containers.ts";
import { eventually } from "../harness/eventually.ts";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { assertOneCopy, containerDocument } from "../harness/one-copy.ts";
import { isChosen, stageOfThisRun } from "./choice.ts";
import { play } from "./scenario.ts";
import { NAME, SETTLE_MS, type Stage } from "./stage.ts";

const MANY = 10;

let stage: Stage;
beforeAll(async () => {
  stage = await stageOfThisRun();
});
afterAll(async () => {
  await stage?.close();
});

describe("at once", () => {
  test.runIf(isChosen(true))("a second migration of the same container is refused", async () => {
    await play(stage, {
      hold: { role: "source", point: "source.before-journal-synced" },
      during: async ({ actors }) => {
        const { exitCode, stderr, document } = await stage.migrate(actors.other);
        expect(exitCode, stderr).toBe(4);
        expect(`${stderr} ${JSON.stringify(document)}`).toMatch(/being moved|ALREADY_MIGRATING/);
      },
      outcomes: ["completed"],
    });
  });

  test.runIf(isChosen(false))(`${MANY} containers`, async () => {
    const { source, destination } = await stage.set();
    const names = Array.from({ length: MANY }, (_, index) => `${NAME}-${index}`);
    const started: StartedContainer[] = [];
    const clients: HeldConnection[] = [];
    try {
      for (const [index, name] of names.entries()) {
        const options = {
          node: source,
          name,
          address: stage.lab.freeAddress(addressIndex("faults together", index)),
          macAddress: `02:64:72:00:fb:0${index}`,
        };
        started.push(await startRedis(stage.lab, options));
        clients.push(await HeldConnection.redis({ host: options.address, port: 6379 }, "held", 5));
      }
      await eventually(
        async () => (await containerDocument(stage.lab, names.at(-1) ?? "").catch(() => undefined))?.uuid,
        {
          what: "the inventory knows them all",
          deadlineMs: SETTLE_MS,
        },
      );
      const move = (name: string) => stage.lab.dray<MigrationDocument>(["migrate", name, "--to", destination]);
      const results = await Promise.all(names.map(move));
      for (const [index, { document, stderr }] of results.entries()) {
        if (document?.outcome === "completed") continue;
        // On a machine that is too busy for ten at once an agent may lose its lease: then all is as before.
        expect([document?.outcome, document?.error?.reason], stderr).toEqual(["rolled_back", "AGENT_UNAVAILABLE"]);
        await stage.lab.ready();
        expect((await move(names[index] ?? "")).document?.outcome).toBe("completed");
      }
      for (const [index, container] of started.entries()) {
        await assertOneCopy(stage.lab, container, destination, { settleMs: SETTLE_MS });
        await clients[index]?.moreReplies(10);
        clients[index]?.verdict();
      }
    } finally {
      await Promise.all(clients.map((client) => client.stop().catch(() => undefined)));
      for (const name of names) await removeContainer(stage.lab, name);
    }
    await stage.assertSound(source, { onwards: destination });
  });
});
