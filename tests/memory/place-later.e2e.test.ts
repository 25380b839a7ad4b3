/** Memory that comes into the processes of a copy while it runs: what has all come before, and what the source still has. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { runsAll } from "../faults/choice.ts";
import { ClusterState } from "../faults/cluster-state.ts";
import { eventually } from "../harness/eventually.ts";
import { HeldConnection } from "../harness/held-connection.ts";
import { importProver, PROVER_PORT } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy, markedTasks, runningCopies } from "../harness/one-copy.ts";
import { Stage } from "../e2e/stage.ts";

const MEGABYTES = 192;

/** Ends as soon as the journal says that the copy runs: its memory is on its way then. */
const UNTIL_RUNNING = `
until tail -qn 1 /var/lib/drayage/journal/*.journal | grep '"state":"running"' | grep -q '"containerName":"'"$1"'"'; do
  sleep 0.01
done
`;
const KILL_WHEN_RUNNING = `${UNTIL_RUNNING} systemctl kill --signal=SIGKILL drayage-agent`;
const KILL_SERVER_WHEN_RUNNING = `${UNTIL_RUNNING} systemctl kill --signal=SIGKILL 'drayage-faults-*'`;
/** Longer than memory of this size takes to be brought: what is asked for meanwhile comes in time. */
const MUCH_MEGABYTES = 768;
/** Of these three quarters are private, and fetched: four seconds at this rate. */
const FETCHED_MEGABYTES = 64;
const LINK = "100mbit";
const WELL_INTO_IT_BYTES = 8e6;
/** What the source says when it has given up the connection over which the copy was getting its memory. */
const GIVEN_UP = "memory does not get to the copy";
/** Ten seconds of silence end a connection. With the short list the source's end is told at once. */
const END_CONNECTIONS = `ss --kill --no-header --tcp state established "( dport = :7401 )"`;
const SETTLE_MS = 120_000;
const stage = new Stage("place-later", []);

let state: ClusterState;
beforeAll(async () => {
  await importProver(stage.lab, [stage.source, stage.destination]);
  state = await ClusterState.open(stage.lab);
});
afterAll(() => state?.close());

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

test.runIf(runsAll)("all of the fault server is killed while it brings the memory: the copy stands still", async () => {
  const { lab, destination } = stage;
  const { container, prover } = await startProver("lost", MUCH_MEGABYTES);
  const order = ["migrate", container.name, "--to", destination, "--mode", "pre-copy"];
  const migration = lab.dray<MigrationDocument>(order);
  await lab.shell(destination, KILL_SERVER_WHEN_RUNNING, container.name);
  // It would tell of a page of zeros as well.
  let told: unknown;
  prover.check().then(
    (bytes) => (told = bytes),
    (thrown: unknown) => (told ??= thrown),
  );
  const { exitCode, document } = await migration;
  expect({ exitCode, document }).toMatchObject({ exitCode: 0, document: { outcome: "completed" } });
  expect(document.reason).toContain("it stands frozen; start it anew");
  const tasks = await markedTasks(lab, destination, container.mark);
  expect(tasks.length).toBeGreaterThan(0);
  expect(tasks.filter(({ frozen }) => !frozen)).toEqual([]);
  expect(told).toBeUndefined();
  await lab.docker(destination, "kill", container.name);
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

/** Waits until the copy, which runs, has fetched more than that, and not all; gives how much. */
async function fetchedMoreThan(id: string, bytes: number): Promise<number> {
  const document = await eventually(
    async () => {
      const asked = await stage.lab.dray<MigrationDocument>(["migration", "inspect", id]);
      const { progress, phase } = asked.document;
      const isFar = progress?.step === "fetch-memory" && progress.done_bytes > bytes;
      return isFar || ["finish", "abort", "done"].includes(phase) ? asked.document : undefined;
    },
    { what: `more than ${bytes} bytes are fetched`, deadlineMs: SETTLE_MS, everyMs: 20 },
  );
  expect(document).toMatchObject({ phase: "fetch", outcome: null });
  return document.progress?.done_bytes ?? Number.NaN;
}

// In a hybrid what changes faster than it can be sent is left to be fetched.
test.each(runsAll ? (["post-copy", "hybrid"] as const) : (["post-copy"] as const))(
  "%s: the source is cut off in the middle of the fetch; the copy waits, and gets every byte",
  async (mode) => {
    const { lab, source, destination } = stage;
    const rate = mode === "hybrid" ? "20000" : "500";
    const command = ["--mb", String(FETCHED_MEGABYTES), "--threads", "4", "--seed", "19", "--dirty", rate];
    const { container, prover } = await stage.startProver(`cut-${mode}`, ...command);
    try {
      await lab.link(source, LINK);
      const order = ["migrate", container.name, "--to", destination, "--mode", mode, "--detach"];
      const { id } = (await lab.dray<{ id: string }>(order)).document;
      const doneBytes = await fetchedMoreThan(id, WELL_INTO_IT_BYTES);
      await lab.control("partition", source);
      // On the one connection that the prover has had all the time. It looks at every page, at those that are missing, too.
      let checkedBytes = 0;
      const checked = prover.check().then((bytes) => (checkedBytes = bytes));
      checked.catch(() => undefined);
      if (!runsAll) await lab.shell(source, END_CONNECTIONS);
      await lab.journalLine(source, { unit: "drayage-agent", texts: [id, GIVEN_UP], deadlineMs: SETTLE_MS });
      // It stands on what it lacks; nothing has ended, on neither side.
      expect(checkedBytes).toBe(0);
      expect(await runningCopies(lab, container.mark)).toEqual([destination]);
      expect([await state.journaled(source, id), await state.journaled(destination, id)]).toEqual(["sent", "fetching"]);
      await lab.control("heal", source);
      await fetchedMoreThan(id, doneBytes + WELL_INTO_IT_BYTES);
      await lab.link(source, "none");
      expect(await checked).toBeGreaterThan(FETCHED_MEGABYTES * 0.9 * 2 ** 20);
      const { document } = await lab.dray<MigrationDocument>(["migration", "watch", id]);
      expect(document).toMatchObject({ outcome: "completed", mode });
    } catch (thrown) {
      await lab.control("heal", source);
      await lab.link(source, "none");
      throw thrown;
    }
    await prover.check();
    await assertOneCopy(lab, container, destination, { settleMs: SETTLE_MS });
    prover.close();
    await stage.nothingElseLeft();
  },
);

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
