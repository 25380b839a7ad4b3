/** Every way of moving memory: the same container, its bytes proven after each, its connection alive. */
import { beforeAll, expect, test } from "vitest";
import { HeldConnection } from "../harness/held-connection.ts";
import { importProver, Prover, PROVER_IMAGE, PROVER_PORT } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "./stage.ts";

const MEGABYTES = 96;
const stage = new Stage(120, []);

beforeAll(async () => {
  await importProver(stage.lab, [stage.source, stage.destination]);
});

async function startProver(name: string, ...more: string[]) {
  const address = stage.address();
  const command = ["--mb", String(MEGABYTES), "--threads", "4", "--seed", "11", ...more];
  const container = await stage.start({ node: stage.source, name, address, image: PROVER_IMAGE, command });
  return { address, container, prover: await Prover.open(address) };
}

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
    }
    // The check still can fail: a check that cannot proves nothing.
    await prover.corrupt();
    await expect(prover.check()).rejects.toThrow("wrong memory");
    prover.close();
    await held.stop();
    await stage.nothingElseLeft();
  },
);

// CRIU leaves none of such a process's memory out of its images; see agent/src/criu/aligned-stacks.ts.
test("a stack pointer at the beginning of a page: right in every mode", async () => {
  const { lab } = stage;
  const { container, prover } = await startProver("aligned", "--dirty", "500", "--aligned-stack", "1");
  let to = stage.destination;
  for (const mode of ["stop-copy", "pre-copy", "post-copy", "hybrid"]) {
    await migrate(lab, container.name, to, "--mode", mode);
    expect(await prover.check()).toBeGreaterThan(MEGABYTES * 0.9 * 2 ** 20);
    await assertOneCopy(lab, container, to);
    to = to === stage.destination ? stage.source : stage.destination;
  }
  prover.close();
  await stage.nothingElseLeft();
});
