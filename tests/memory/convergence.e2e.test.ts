/** When rounds of pre-copy end: what is left for the switch, memory that changes too fast, a container that is slowed down. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MOST_ROUNDS } from "../../agent/src/memory/convergence.ts";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { runRaw } from "../../deploy/lab/src/host/run.ts";
import { runsAll } from "../faults/choice.ts";
import { FaultPoints } from "../faults/fault-points.ts";
import { appearance, isAgent } from "../faults/node-processes.ts";
import { removeContainer, startContainer, type StartedContainer } from "../harness/containers.ts";
import { Freezer } from "../harness/freezer.ts";
import { importProver, Prover, PROVER_IMAGE } from "../harness/memory-prover.ts";
import { type CompletedMigration, migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { roundDecision, roundDecisions } from "../harness/round-decisions.ts";
import { Stage } from "../e2e/stage.ts";

const MEGABYTES = 64;
const LINK = "100mbit";
/** Over that link the memory takes some 6 s; without any, a switch takes less than one. */
const WISH_MS = 3000;
const WISH = ["--max-downtime", `${WISH_MS}ms`];

const stage = new Stage("convergence", []);

beforeAll(async () => {
  await importProver(stage.lab, [stage.source, stage.destination]);
});

const proverOf = (megabytes: number, ...more: string[]) => [
  ...["--mb", String(megabytes), "--threads", "4", "--seed", "11"],
  ...more,
];

async function overLink(body: () => Promise<void>): Promise<void> {
  await stage.lab.link(stage.source, LINK);
  try {
    await body();
  } finally {
    await stage.lab.link(stage.source, "none");
  }
}

/** Begins it, and returns its id. */
async function begin(container: StartedContainer, ...more: string[]): Promise<string> {
  const order = ["migrate", container.name, "--to", stage.destination, "--detach", ...more];
  const { exitCode, document, stderr } = await stage.lab.dray<{ id: string }>(order);
  expect(exitCode, stderr).toBe(0);
  return document.id;
}

interface Watched {
  readonly exitCode: number;
  readonly last: MigrationDocument;
  readonly underWay: readonly MigrationDocument[];
}

/** As a script follows it. */
async function watch(id: string): Promise<Watched> {
  const argv = [stage.lab.drayPath, "migration", "watch", id, "--json"];
  const { exitCode, stdout } = await runRaw(argv, { env: stage.lab.environment });
  const documents = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as MigrationDocument);
  const last = documents.at(-1);
  if (last === undefined) throw new Error(`nothing was said of migration ${id}`);
  return { exitCode, last, underWay: documents.filter(({ outcome }) => outcome === null) };
}

test("pre-copy sends in the switch what has changed, and little more", async () => {
  const { lab } = stage;
  const { container, prover } = await stage.startProver("quiet", ...proverOf(MEGABYTES));
  await overLink(async () => {
    const moved = await migrate(lab, container.name, stage.destination, "--mode", "pre-copy", ...WISH);
    await prover.check();
    assertFitsWish(moved);
    const { rounds, decisions } = moved;
    const first = rounds[0]?.bytes ?? 0;
    expect(first).toBeGreaterThan(MEGABYTES * 0.9 * 2 ** 20);
    // Shared mappings and stacks of a program that does nothing; the bulk went before.
    expect(rounds.at(-1)?.bytes).toBeLessThan(first * 0.05);
    const verdicts = roundDecisions(decisions).map(({ verdict }) => verdict);
    expect(verdicts).toEqual(["another round, since", "switch, since"]);
    // A stop-copy stands still for as long as all of it takes over the link, however fast the machine is.
    const stopped = await migrate(lab, container.name, stage.source, "--mode", "stop-copy");
    expect(moved.downtime_ms).toBeLessThan(stopped.downtime_ms / 2);
  });
  prover.close();
});

/** It was switched when that was expected to fit the wish; the report has both, and what came, which `migrate` looks for. */
function assertFitsWish({ decisions, max_downtime_ms }: CompletedMigration): void {
  expect(max_downtime_ms).toBe(WISH_MS);
  const decided = roundDecisions(decisions);
  expect(decided.map(({ wantedMs }) => wantedMs)).toEqual(decided.map(() => WISH_MS));
  expect(decided.at(-1)?.verdict).toBe("switch, since");
  expect(decided.at(-1)?.expectedMs).toBeLessThanOrEqual(WISH_MS);
}

test("pre-copy of memory that changes faster than it can be sent ends, by what was asked for", async () => {
  const { lab } = stage;
  const { container, prover } = await stage.startProver("restless", ...proverOf(MEGABYTES, "--dirty", "100000"));
  await overLink(async () => {
    const refused = await watch(await begin(container, "--mode", "pre-copy", ...WISH));
    expect(refused.exitCode).toBe(6);
    expect(refused.last).toMatchObject({ outcome: "rolled_back", error: { reason: "NOT_CONVERGING" } });
    assertNoConvergence(refused.last);
    assertToldMeanwhile(refused);
    await prover.check();
    const moved = await migrate(lab, container.name, stage.destination, ...WISH);
    const { mode, phases, rounds, decisions } = moved;
    expect(mode).toBe("hybrid");
    expect(roundDecisions(decisions)).toHaveLength(rounds.length - 1);
    expect(phases.some(({ name }) => name === "fetch")).toBe(true);
    await prover.check();
  });
  prover.close();
});

/** It was given up for what the rounds have shown, and says so. */
function assertNoConvergence({ rounds, decisions, error }: MigrationDocument): void {
  expect(rounds.length).toBeLessThanOrEqual(MOST_ROUNDS);
  const decided = roundDecisions(decisions);
  expect(decided).toHaveLength(rounds.length);
  const last = decided.at(-1);
  const [, count, reason = ""] = /^(\d+) rounds of memory: (.*)$/.exec(error?.message ?? "") ?? [];
  expect(Number(count)).toBe(rounds.length);
  expect(roundDecision(reason)).toEqual(last);
  expect(error?.remedy).toContain("--auto-converge");
  if (last === undefined) throw new Error("nothing was decided");
  expect(last.verdict).toBe("rounds no longer pay:");
  expect(last.wantedMs).toBe(WISH_MS);
  expect(last.expectedMs).toBeGreaterThan(WISH_MS);
  // A page counts once, however often it changes: when all of them do, what has changed is what was sent.
  expect(last.changedPerSecond).toBeGreaterThan(last.sentPerSecond * 0.8);
  expect(last.remainingMegabytes).toBeGreaterThan(MEGABYTES * 0.8);
}

/** While it is under way: where each round is, and what was decided after it. */
function assertToldMeanwhile({ last, underWay }: Watched): void {
  const told = underWay.map(({ progress }) => progress?.message ?? "");
  for (const number of last.rounds.keys()) {
    const text = new RegExp(`^round ${number + 1}, \\d+(\\.\\d)? MB sent at \\d+ MB/s, about \\d+ s left$`);
    expect(told).toContainEqual(expect.stringMatching(text));
  }
  const afterFirst = underWay.find(({ rounds }) => rounds.length === 1);
  expect(afterFirst?.rounds).toEqual(last.rounds.slice(0, 1));
  expect(roundDecisions(afterFirst?.decisions ?? [])).toEqual(roundDecisions(last.decisions).slice(0, 1));
}

test("a container that may be slowed down is, until its memory can be sent, and no longer", async () => {
  const { lab } = stage;
  // Some 16 MB a second change, and some 12 can be sent.
  const { container, prover } = await stage.startProver("slowed", ...proverOf(96, "--dirty", "4000"));
  await overLink(async () => {
    const wishes = ["--mode", "pre-copy", ...WISH, "--auto-converge"];
    const moved = await migrate(lab, container.name, stage.destination, ...wishes);
    assertFitsWish(moved);
    const { decisions, rounds } = moved;
    expect(decisions.join("\n")).toMatch(/throttling: the container stands still \d+ % of the time/);
    // The last of the rounds is the switch.
    expect(roundDecisions(decisions)).toHaveLength(rounds.length - 1);
    await prover.check();
    await assertOneCopy(lab, container, stage.destination);
  });
  prover.close();
  await stage.nothingElseLeft();
});

describe("a container that is slowed down is so no longer after", () => {
  /** Two rounds of this, all of which changes, show that it does not converge. */
  const SLOWED_MEGABYTES = 24;
  const NAME = "throttled";
  const THROTTLED = "source.before-round-3";
  const FIRING_MS = 60_000;
  /** Ten of the throttle's turns. */
  const TURNS_MS = 1000;

  let faults: FaultPoints;
  let container: StartedContainer;
  let prover: Prover;
  beforeAll(async () => {
    const { lab, source: node } = stage;
    faults = await FaultPoints.open(lab);
    const command = proverOf(SLOWED_MEGABYTES, "--dirty", "100000");
    const place = { node, name: NAME, address: stage.address() };
    container = await startContainer(lab, { ...place, image: PROVER_IMAGE, command });
    prover = await Prover.open(container.address);
  });
  afterAll(async () => {
    prover?.close();
    await faults?.clear();
    faults?.close();
    await removeContainer(stage.lab, NAME);
  });

  /** Where nobody would open its freezer any more. */
  const killAgentWhileShut = async (freezer: Freezer) => {
    const { pid } = await appearance(stage.lab, stage.source, isAgent, FIRING_MS);
    for (;;) {
      await freezer.shut(FIRING_MS);
      process.kill(pid, "SIGSTOP");
      // It may have opened it meanwhile.
      if (freezer.isShut) break;
      process.kill(pid, "SIGCONT");
    }
    process.kill(pid, "SIGKILL");
  };
  const cancel = async (_: Freezer, id: string) => {
    const { exitCode, stderr } = await stage.lab.dray(["migration", "cancel", id]);
    expect(exitCode, stderr).toBe(0);
  };

  const ENDS = [
    { title: "a cancel", deed: cancel, reason: "CANCELLED", isCore: false },
    { title: "the death of the agent", deed: killAgentWhileShut, reason: "AGENT_UNAVAILABLE", isCore: true },
    { title: "a refusal", deed: async () => undefined, reason: "NOT_CONVERGING", isCore: false },
  ];
  for (const { title, deed, reason, isCore } of ENDS)
    test.runIf(runsAll || isCore)(title, async () => {
      const { lab, source } = stage;
      await overLink(async () => {
        await faults.set(source, [{ point: THROTTLED, action: "hang" }]);
        const id = await begin(container, "--mode", "pre-copy", "--max-downtime", "1s", "--auto-converge");
        await faults.firing(THROTTLED, FIRING_MS);
        const freezer = await Freezer.of(lab, source, container.mark);
        expect((await freezer.watch(TURNS_MS)).times).toBeGreaterThan(2);
        await deed(freezer, id);
        await faults.clear();
        const { last } = await watch(id);
        // From the very moment when it is said to run as before.
        const { looks, still } = await freezer.watch(TURNS_MS);
        expect(last).toMatchObject({ outcome: "rolled_back", error: { reason } });
        expect(looks).toBeGreaterThan(TURNS_MS / 100);
        expect(still).toBe(0);
      });
      await prover.check();
      await assertOneCopy(lab, container, source);
      await lab.ready();
    });
});
