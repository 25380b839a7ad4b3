/** Every way of moving memory: the same container, its bytes proven after each, its connection alive. */
import { beforeAll, expect, test } from "vitest";
import { HeldConnection } from "../harness/held-connection.ts";
import { importProver, PROVER_PORT } from "../harness/memory-prover.ts";
import { type CompletedMigration, migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "./stage.ts";

const MEGABYTES = 96;
const stage = new Stage("modes", []);

beforeAll(async () => {
  await importProver(stage.lab, [stage.source, stage.destination]);
});

const startProver = (name: string, ...more: string[]) =>
  stage.startProver(name, "--mb", String(MEGABYTES), "--threads", "4", "--seed", "11", ...more);

test.each(["stop-copy", "pre-copy", "post-copy", "hybrid", "auto"])(
  "%s: there and back, rewritten all the time, with files open",
  async (mode) => {
    const { lab } = stage;
    const { address, container, prover } = await startProver(`moved-${mode}`, "--dirty", "500");
    const held = await HeldConnection.prover({ host: address, port: PROVER_PORT });
    await prover.openFiles(4);
    for (const to of [stage.destination, stage.source]) {
      const migration = await migrate(lab, container.name, to, "--mode", mode);
      expect(await prover.check()).toBeGreaterThan(MEGABYTES * 0.9 * 2 ** 20);
      await held.moreReplies(20);
      await assertOneCopy(lab, container, to);
      expect(migration.memory_bytes).toBeGreaterThan(MEGABYTES * 0.9 * 2 ** 20);
      // `auto` says in the end which it was.
      expect(mode === "auto" ? ["pre-copy", "hybrid"] : [mode]).toContain(migration.mode);
      const isFetched = migration.mode === "post-copy" || migration.mode === "hybrid";
      expect(migration.phases.some(({ name }) => name === "fetch")).toBe(isFetched);
      if (migration.mode === "pre-copy" || migration.mode === "hybrid")
        expect(migration.rounds.length).toBeGreaterThan(2);
      // A quarter is shared and went before. In a hybrid the destination has all but what was written to after a round.
      if (migration.mode === "post-copy") expect(fetchedBytes(migration)).toBeGreaterThan(MEGABYTES * 0.6 * 2 ** 20);
      if (migration.mode === "hybrid") expect(fetchedBytes(migration)).toBeLessThan(MEGABYTES * 0.1 * 2 ** 20);
    }
    // The check still can fail: a check that cannot proves nothing.
    await prover.corrupt();
    await expect(prover.check()).rejects.toThrow("wrong memory");
    prover.close();
    await held.stop();
    await stage.nothingElseLeft();
  },
);

/** What came from the source while the copy ran, by the report. */
function fetchedBytes({ decisions }: CompletedMigration): number {
  const told = /^post-copy: ([\d.]+) MB fetched/m.exec(decisions.join("\n"))?.[1];
  return Number(told) * 1e6;
}

/** What the agent says of the dump of this migration. */
async function dumpOf(node: string, migrationId: string) {
  const lines = (await stage.lab.exec(node, ["journalctl", "--unit=drayage-agent", "--output=cat"])).split("\n");
  const said = lines.filter((line) => line.includes(migrationId)).map((line) => JSON.parse(line) as DumpAccount);
  return {
    isAligned: said.some(({ msg }) => msg.startsWith("a stack pointer is at the beginning of a page")),
    imageBytes: said.find(({ msg }) => msg === "CRIU's images have been sent")?.image_bytes ?? 0,
    broughtBytes: said.find(({ msg }) => msg === "CRIU has brought the memory")?.contentBytes ?? 0,
  };
}

interface DumpAccount {
  readonly msg: string;
  readonly image_bytes?: number;
  readonly contentBytes?: number;
}

// CRIU leaves none of the one's memory where it is (agent/src/criu/aligned-stacks.ts), nor of the other's.
test.each([
  ["a stack pointer at the beginning of a page", "--aligned-stack"],
  ["all memory shared", "--shared"],
])("%s: right in every mode, brought by CRIU without a file of it on the source", async (_, option) => {
  const { lab } = stage;
  const { container, prover } = await startProver(`unusual${option}`, "--dirty", "500", option, "1");
  let from = stage.source;
  let to = stage.destination;
  for (const mode of ["stop-copy", "pre-copy", "post-copy", "hybrid"]) {
    const { id, rounds } = await migrate(lab, container.name, to, "--mode", mode);
    expect(await prover.check()).toBeGreaterThan(MEGABYTES * 0.9 * 2 ** 20);
    await assertOneCopy(lab, container, to);
    const { imageBytes, broughtBytes } = await dumpOf(from, id);
    const most = MEGABYTES * 0.9 * 2 ** 20;
    expect(broughtBytes).toBeGreaterThan(most);
    expect(imageBytes).toBeLessThan(2 ** 20);
    // What rounds have brought does not go again while it stands still, though nothing of it can follow later.
    const frozenBytes = rounds.at(-1)?.bytes ?? Number.NaN;
    if (mode === "pre-copy" || mode === "hybrid") expect(frozenBytes).toBeLessThan(most / 4);
    else expect(frozenBytes).toBeGreaterThan(most);
    [from, to] = [to, from];
  }
  prover.close();
  await stage.nothingElseLeft();
});

test("private memory is read from the processes: CRIU brings what is shared, and no file has any of it", async () => {
  const { container, prover } = await startProver("usual", "--dirty", "500");
  const { id } = await migrate(stage.lab, container.name, stage.destination, "--mode", "stop-copy");
  await prover.check();
  const { isAligned, imageBytes, broughtBytes } = await dumpOf(stage.source, id);
  expect(imageBytes).toBeLessThan(2 ** 20);
  // A quarter of it is shared.
  expect(broughtBytes).toBeGreaterThan((MEGABYTES / 4) * 0.9 * 2 ** 20);
  // Where its threads' stacks begin is chance: one in 256, for each.
  if (!isAligned) expect(broughtBytes).toBeLessThan((MEGABYTES / 4 + 4) * 2 ** 20);
  prover.close();
  await stage.nothingElseLeft();
});
