/** Every byte of memory, every file that is open: proven by the program that fills them. */
import { beforeAll, expect, test } from "vitest";
import { HeldConnection } from "../harness/held-connection.ts";
import { importProver, PROVER_PORT } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "./stage.ts";

const stage = new Stage("memory", []);

beforeAll(async () => {
  // On the source alone: the image has to travel too.
  await importProver(stage.lab, [stage.source]);
});

test("memory in many mappings and threads, rewritten all the time, with open, deleted and mapped files", async () => {
  const { lab } = stage;
  const command = ["--mb", "192", "--threads", "6", "--seed", "42", "--dirty", "3000"];
  const { address, container, prover } = await stage.startProver("prover", ...command);
  const held = await HeldConnection.prover({ host: address, port: PROVER_PORT });
  await prover.openFiles(40);
  await prover.check();
  for (const to of [stage.destination, stage.third, stage.source]) {
    const { memory_bytes: memoryBytes } = await migrate(lab, container.name, to);
    expect(await prover.check()).toBeGreaterThan(180 * 2 ** 20);
    await held.moreReplies(20);
    await assertOneCopy(lab, container, to);
    // Shared mappings count as much as private ones.
    expect.soft(memoryBytes).toBeGreaterThan(180 * 2 ** 20);
  }
  // The check still can fail: a check that cannot proves nothing.
  await prover.corrupt();
  await expect(prover.check()).rejects.toThrow("wrong memory");
  prover.close();
  await held.stop();
  await stage.nothingElseLeft();
});

test("2 GB move with both agents below 300 MB", { timeout: 600_000 }, async () => {
  const { lab } = stage;
  const { container, prover } = await stage.startProver("large", "--mb", "2048", "--threads", "4", "--seed", "7");
  await prover.check();
  await migrate(lab, container.name, stage.destination);
  await prover.check();
  // Of their whole lives: an agent that has grown in what it did before would not be small in the next move either.
  for (const node of [stage.source, stage.destination]) {
    expect((await lab.residentBytes(node, "drayage-agent.service")).peak).toBeLessThan(300 * 2 ** 20);
  }
  await assertOneCopy(lab, container, stage.destination);
  prover.close();
});
