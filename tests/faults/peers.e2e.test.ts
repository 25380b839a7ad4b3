/** Peers of another version: refused clearly, before anything is touched. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isChosen, stageOfThisRun } from "./choice.ts";
import type { Stage } from "./stage.ts";

const BUNDLE = "/usr/lib/drayage/agent.mjs";
/** Both protocols of the agent, of calls and of page streams, as the bundle defines them. */
const DEFINITION = /PROTOCOL_VERSIONS2? ?= ?\[[0-9]+\]/g;

let stage: Stage;
beforeAll(async () => {
  stage = await stageOfThisRun();
});
afterAll(async () => {
  await stage?.close();
});

/** The agent of that node speaks nothing but version 99, in one of its two protocols, for as long as `body` takes. */
async function withStranger(node: string, which: number, body: () => Promise<void>): Promise<void> {
  const original = await stage.lab.exec(node, ["grep", "-nE", "PROTOCOL_VERSIONS2? ?= ?\\[[0-9]+\\]", BUNDLE]);
  const lines = original.split("\n");
  expect(original.match(DEFINITION)?.length).toBe(2);
  const line = lines[which]?.split(":")[0];
  if (line === undefined) throw new Error(`the bundle defines ${lines.length} protocols`);
  await stage.lab.shell(
    node,
    `cp -p ${BUNDLE} ${BUNDLE}.kept; sed -i "$1s/\\[[0-9]*\\]/[99]/" ${BUNDLE}; systemctl restart drayage-agent`,
    line,
  );
  try {
    await body();
  } finally {
    await stage.lab.shell(node, `mv ${BUNDLE}.kept ${BUNDLE}; systemctl restart drayage-agent`);
    await stage.lab.ready();
  }
}

describe("a destination that speaks version 99 only", () => {
  for (const which of [0, 1]) {
    test.runIf(isChosen(false))(`in protocol ${which + 1} of its two`, async () => {
      const actors = await stage.set();
      await withStranger(actors.destination, which, async () => {
        const { exitCode, document, stderr } = await stage.migrate(actors.destination);
        expect(exitCode).not.toBe(0);
        expect([undefined, "rolled_back"]).toContain(document?.outcome);
        expect(`${stderr} ${JSON.stringify(document)}`).toMatch(/PROTOCOL_MISMATCH|version/);
        expect(`${stderr} ${JSON.stringify(document)}`).toContain("99");
      });
      await stage.assertSound(actors.source, { onwards: actors.destination });
    });
  }
});
