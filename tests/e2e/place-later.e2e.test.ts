/** Memory that has all come before the copy runs, and is brought into its processes while it runs. */
import { beforeAll, expect, test } from "vitest";
import { HeldConnection } from "../harness/held-connection.ts";
import { importProver, Prover, PROVER_IMAGE, PROVER_PORT } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "./stage.ts";

const MEGABYTES = 192;

/** As soon as the journal says that the copy runs: its memory is on its way then. */
const KILL_WHEN_RUNNING = `
until tail -qn 1 /var/lib/drayage/journal/*.journal | grep '"state":"running"' | grep -q '"containerName":"'"$1"'"'; do
  sleep 0.01
done
systemctl kill --signal=SIGKILL drayage-agent
`;
const stage = new Stage(125, []);

beforeAll(async () => {
  await importProver(stage.lab, [stage.source, stage.destination]);
});

async function startProver(name: string) {
  const address = stage.address();
  const command = ["--mb", String(MEGABYTES), "--threads", "4", "--seed", "17", "--dirty", "500"];
  const container = await stage.start({ node: stage.source, name, address, image: PROVER_IMAGE, command });
  return { address, container, prover: await Prover.open(address) };
}

test("pre-copy of much memory: all of it is there, while it is brought and afterwards", async () => {
  const { lab } = stage;
  const { address, container, prover } = await startProver("later");
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

test("the destination's agent is killed while it brings the memory: its successor goes on", async () => {
  const { lab } = stage;
  const { container, prover } = await startProver("killed");
  const migration = migrate(lab, container.name, stage.destination, "--mode", "pre-copy");
  await lab.shell(stage.destination, KILL_WHEN_RUNNING, container.name);
  expect(await prover.check()).toBeGreaterThan(MEGABYTES * 0.9 * 2 ** 20);
  await migration;
  expect(await prover.check()).toBeGreaterThan(MEGABYTES * 0.9 * 2 ** 20);
  await assertOneCopy(lab, container, stage.destination);
  prover.close();
  await stage.nothingElseLeft();
});
