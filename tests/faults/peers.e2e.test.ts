/** Peers of another version: refused clearly, before anything is touched. */
import { PROTOCOL_VERSIONS as CALL_VERSIONS } from "@drayage/shared/rpc/protocol.ts";
import { PROTOCOL_VERSIONS as PAGE_VERSIONS } from "@drayage/shared/page-stream/messages.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runRaw } from "../../deploy/lab/src/host/run.ts";
import { parseDocument } from "../harness/test-lab.ts";
import { isChosen, stageOfThisRun } from "./choice.ts";
import type { Stage } from "./stage.ts";

/** One that nobody speaks. */
const STRANGE = 99;
/** What `dray` prints with --json where there is no migration, and its exit code for a precondition that is not met. */
const refusal = (error: object) => ({ exitCode: 4, document: { error, exit_code: 4 } });

let stage: Stage;
beforeAll(async () => {
  stage = await stageOfThisRun();
});
afterAll(async () => {
  await stage?.close();
});

/** That program of the node speaks nothing but the strange version, in the protocol of these, while `body` runs. */
async function withStranger(
  node: string,
  program: "agent" | "coordinator",
  versions: readonly number[],
  body: () => Promise<void>,
): Promise<void> {
  const bundle = `/usr/lib/drayage/${program}.mjs`;
  // In a bundle the two protocols are told apart by their versions.
  const definition = `\\(PROTOCOL_VERSIONS2\\? = \\)\\[${versions.join(", ")}\\]`;
  expect(await stage.lab.exec(node, ["grep", "--count", definition, bundle]), "one definition").toBe("1");
  await stage.lab.shell(
    node,
    `cp -p "$1" "$1.kept"; sed -i "s/$2/\\\\1[${STRANGE}]/" "$1"; systemctl restart "$3"`,
    ...[bundle, definition, `drayage-${program}`],
  );
  try {
    await body();
  } finally {
    await stage.lab.shell(node, 'mv "$1.kept" "$1"; systemctl restart "$2"', bundle, `drayage-${program}`);
    await stage.lab.ready();
  }
}

describe(`an agent that speaks version ${STRANGE} only`, () => {
  test.runIf(isChosen(false)).each(["source", "destination"] as const)("the %s's, in calls", async (role) => {
    const actors = await stage.set();
    await withStranger(actors[role], "agent", CALL_VERSIONS, async () => {
      expect(await stage.migrate(actors.destination)).toMatchObject(
        refusal({
          reason: "PROTOCOL_MISMATCH",
          node: actors[role],
          message: expect.stringContaining(`one side speaks ${STRANGE}, the other ${CALL_VERSIONS.join(", ")}`),
        }),
      );
    });
    await stage.assertSound(actors.source, { onwards: actors.destination });
  });

  test.runIf(isChosen(false)).each(["source", "destination"] as const)("the %s's, in page streams", async (role) => {
    const actors = await stage.set();
    const ours = PAGE_VERSIONS.join(", ");
    const [here, there] = role === "destination" ? [STRANGE, ours] : [ours, STRANGE];
    await withStranger(actors[role], "agent", PAGE_VERSIONS, async () => {
      const finding = {
        code: "pages-unreachable",
        node: actors.source,
        message: expect.stringContaining(`no common version: ${here} here, ${there} there`),
        remedy: "Install versions of Drayage that share a protocol version on both sides.",
      };
      expect(await stage.migrate(actors.destination)).toMatchObject(
        refusal({ reason: "PREFLIGHT", findings: [finding] }),
      );
    });
    await stage.assertSound(actors.source, { onwards: actors.destination });
  });
});

test.runIf(isChosen(false))(`a coordinator that speaks version ${STRANGE} only is passed over`, async () => {
  const actors = await stage.set();
  /** `dray` that knows these coordinators and no others. */
  const knowing = async (...nodes: string[]) => {
    const coordinators = nodes.map((node) => `${stage.lab.nodeAddress(node)}:7410`).join(",");
    const env = { ...stage.lab.environment, DRAYAGE_COORDINATORS: coordinators };
    const { exitCode, stdout } = await runRaw([stage.lab.drayPath, "node", "inspect", actors.source, "--json"], {
      env,
    });
    return { exitCode, document: parseDocument(stdout) };
  };
  await withStranger(actors.other, "coordinator", CALL_VERSIONS, async () => {
    expect(await knowing(actors.other)).toMatchObject(refusal({ reason: "PROTOCOL_MISMATCH" }));
    expect(await knowing(actors.other, actors.source)).toMatchObject({
      exitCode: 0,
      document: { name: actors.source, state: "ready" },
    });
  });
  await stage.assertSound(actors.source, { onwards: actors.destination });
});
