/** When rounds of pre-copy end: what is left for the switch, memory that changes too fast, a container that is slowed down. */
import { beforeAll, expect, test } from "vitest";
import { importProver } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "../e2e/stage.ts";

const MEGABYTES = 96;
const stage = new Stage("convergence", []);

beforeAll(async () => {
  await importProver(stage.lab, [stage.source, stage.destination]);
});

const startProver = (name: string, ...more: string[]) =>
  stage.startProver(name, "--mb", String(MEGABYTES), "--threads", "4", "--seed", "11", ...more);

test("pre-copy sends in the switch what has changed, and little more", async () => {
  const { lab } = stage;
  const { container, prover } = await startProver("quiet");
  const { rounds } = await migrate(lab, container.name, stage.destination, "--mode", "pre-copy");
  await prover.check();
  const first = rounds[0]?.bytes ?? 0;
  expect(first).toBeGreaterThan(MEGABYTES * 0.9 * 2 ** 20);
  // Shared mappings and stacks of a program that does nothing; the bulk went before.
  expect(rounds.at(-1)?.bytes).toBeLessThan(first * 0.05);
  prover.close();
});

test("pre-copy of memory that changes faster than it can be sent ends, by what was asked for", async () => {
  const { lab } = stage;
  const { container, prover } = await startProver("restless", "--dirty", "100000");
  await lab.link(stage.source, "100mbit");
  try {
    const refused = await lab.dray<{ outcome: string; error: { reason: string } }>(
      ["migrate", container.name, "--to", stage.destination, "--mode", "pre-copy", "--max-downtime", "400ms"],
      {},
    );
    expect(refused.document.outcome).toBe("rolled_back");
    expect(refused.document.error.reason).toBe("NOT_CONVERGING");
    expect(refused.exitCode).toBe(6);
    await prover.check();
    const { mode, phases } = await migrate(lab, container.name, stage.destination, "--max-downtime", "400ms");
    expect(mode).toBe("hybrid");
    expect(phases.some(({ name }) => name === "fetch")).toBe(true);
    await prover.check();
  } finally {
    await lab.link(stage.source, "none");
  }
  prover.close();
});

test("a container that may be slowed down is, until its memory can be sent, and no longer", async () => {
  const { lab } = stage;
  // Some 16 MB a second change, and some 12 can be sent.
  const { container, prover } = await startProver("slowed", "--dirty", "4000");
  await lab.link(stage.source, "100mbit");
  try {
    const wishes = ["--mode", "pre-copy", "--max-downtime", "3s", "--auto-converge"];
    const { decisions } = await migrate(lab, container.name, stage.destination, ...wishes);
    expect(decisions.join("\n")).toMatch(/throttling: the container stands still \d+ % of the time/);
    await prover.check();
    await assertOneCopy(lab, container, stage.destination);
  } finally {
    await lab.link(stage.source, "none");
  }
  prover.close();
  await stage.nothingElseLeft();
});
