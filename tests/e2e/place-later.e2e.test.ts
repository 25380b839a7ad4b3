/** Memory that has all come before the copy runs, and is brought into its processes while it runs. */
import { beforeAll, expect, test } from "vitest";
import { HeldConnection } from "../harness/held-connection.ts";
import { importProver, Prover, PROVER_IMAGE, PROVER_PORT } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "./stage.ts";

const MEGABYTES = 192;
const stage = new Stage(125, []);

beforeAll(async () => {
  await importProver(stage.lab, [stage.source, stage.destination]);
});

test("pre-copy of much memory: all of it is there, while it is brought and afterwards", async () => {
  const { lab } = stage;
  const address = stage.address();
  const command = ["--mb", String(MEGABYTES), "--threads", "4", "--seed", "17", "--dirty", "500"];
  const container = await stage.start({ node: stage.source, name: "later", address, image: PROVER_IMAGE, command });
  const prover = await Prover.open(address);
  const held = await HeldConnection.prover({ host: address, port: PROVER_PORT });
  for (const to of [stage.destination, stage.source]) {
    const migration = migrate(lab, container.name, to, "--mode", "pre-copy");
    await held.moreReplies(20);
    const { phases } = await migration;
    expect(phases.map(({ name }) => name)).toContain("expect-faults");
    expect(await prover.check()).toBeGreaterThan(MEGABYTES * 0.9 * 2 ** 20);
    await assertOneCopy(lab, container, to);
  }
  prover.close();
  await held.stop();
  await stage.nothingElseLeft();
});
