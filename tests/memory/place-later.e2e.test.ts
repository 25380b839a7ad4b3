/** Memory that has all come before the copy runs, and is brought into its processes while it runs. */
import { beforeAll, expect, test } from "vitest";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { HeldConnection } from "../harness/held-connection.ts";
import { importProver, PROVER_PORT } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy, runningCopies } from "../harness/one-copy.ts";
import { Stage } from "../e2e/stage.ts";

const MEGABYTES = 192;

/** Ends as soon as the journal says that the copy runs: its memory is on its way then. */
const UNTIL_RUNNING = `
until tail -qn 1 /var/lib/drayage/journal/*.journal | grep '"state":"running"' | grep -q '"containerName":"'"$1"'"'; do
  sleep 0.01
done
`;
const KILL_WHEN_RUNNING = `${UNTIL_RUNNING} systemctl kill --signal=SIGKILL drayage-agent`;
/** Longer than memory of this size takes to be brought: what is asked for meanwhile comes in time. */
const MUCH_MEGABYTES = 768;
const stage = new Stage("place-later", []);

beforeAll(async () => {
  await importProver(stage.lab, [stage.source, stage.destination]);
});

const startProver = (name: string, megabytes = MEGABYTES) =>
  stage.startProver(name, "--mb", String(megabytes), "--threads", "4", "--seed", "17", "--dirty", "500");

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
  const order = ["migrate", container.name, "--to", stage.destination, "--mode", "pre-copy"];
  const migration = lab.dray<MigrationDocument>(order);
  await lab.shell(stage.destination, KILL_WHEN_RUNNING, container.name);
  expect(await prover.check()).toBeGreaterThan(MEGABYTES * 0.9 * 2 ** 20);
  const { exitCode, document } = await migration;
  expect({ exitCode, document }).toMatchObject({ exitCode: 0, document: { outcome: "completed" } });
  // The answer that tells of the thaw may have gone with the agent: its successor knows, too.
  expect(document.downtime_ms).toBeGreaterThan(0);
  expect(await prover.check()).toBeGreaterThan(MEGABYTES * 0.9 * 2 ** 20);
  await assertOneCopy(lab, container, stage.destination);
  prover.close();
  await stage.nothingElseLeft();
});

test("a copy whose memory is still being brought is not moved on before it is there", async () => {
  const { lab } = stage;
  const { container, prover } = await startProver("onwards", MUCH_MEGABYTES);
  const migration = migrate(lab, container.name, stage.destination, "--mode", "pre-copy");
  await lab.shell(stage.destination, UNTIL_RUNNING, container.name);
  const next = await lab.dray<{ error: { reason: string } }>(["migrate", container.name, "--to", stage.third]);
  expect(next).toMatchObject({ exitCode: 4, document: { error: { reason: "ALREADY_MIGRATING" } } });
  await migration;
  expect(await prover.check()).toBeGreaterThan(MUCH_MEGABYTES * 0.9 * 2 ** 20);
  await assertOneCopy(lab, container, stage.destination);
  prover.close();
  await stage.nothingElseLeft();
});

test("the destination loses its power while it brings the memory: the copy ends with it, and the migration has an end", async () => {
  const { lab } = stage;
  const { container, prover } = await startProver("powerless", MUCH_MEGABYTES);
  const migration = lab.dray<MigrationDocument>([
    "migrate",
    container.name,
    "--to",
    stage.destination,
    "--mode",
    "pre-copy",
  ]);
  await lab.shell(stage.destination, UNTIL_RUNNING, container.name);
  await lab.control("kill", stage.destination);
  await lab.control("start", stage.destination);
  prover.close();
  const { document } = await migration;
  expect(document).toMatchObject({ outcome: "completed" });
  // Its memory has gone with its host, and nobody has what the source had.
  expect(await runningCopies(lab, container.mark, lab.nodes)).toEqual([]);
  expect(await lab.docker(stage.destination, "inspect", "--format={{.State.Status}}", container.name)).toBe("exited");
  await stage.nothingElseLeft();
});
