/** Ended in the middle of a dump that brings much memory to the page server: the source runs on, with all of it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { runsAll } from "../faults/choice.ts";
import { ClusterState } from "../faults/cluster-state.ts";
import { appearance, isAgent, killOnAppearance } from "../faults/node-processes.ts";
import { eventually } from "../harness/eventually.ts";
import { importProver } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "../e2e/stage.ts";

const MEGABYTES = 64;
/** Five seconds for all of it. */
const LINK = "100mbit";
const WELL_INTO_IT_BYTES = 8e6;
const SETTLE_MS = 120_000;
const stage = new Stage("dump-to-page-server", []);

let state: ClusterState;
beforeAll(async () => {
  await importProver(stage.lab, [stage.source, stage.destination]);
  state = await ClusterState.open(stage.lab);
});
afterAll(() => state?.close());

const isDumpingCriu = ([title = ""]: readonly string[]) => title.startsWith("criu: dump");

const MODES = ["stop-copy", "post-copy"] as const;

interface Deed {
  readonly what: string;
  /** With everything (DRAYAGE_FAULTS=all) in both. */
  readonly mode: (typeof MODES)[number];
  readonly reason: string | null;
  readonly does: (id: string) => Promise<unknown>;
}

const DEEDS: readonly Deed[] = [
  {
    what: "CRIU is killed",
    mode: "post-copy",
    reason: "CRIU_DUMP_FAILED",
    does: () => killOnAppearance(stage.lab, stage.source, isDumpingCriu, SETTLE_MS),
  },
  {
    what: "the source's agent is killed",
    mode: "stop-copy",
    reason: null,
    does: () => killOnAppearance(stage.lab, stage.source, isAgent, SETTLE_MS),
  },
  {
    what: "the destination's agent is killed",
    mode: "post-copy",
    reason: null,
    does: () => killOnAppearance(stage.lab, stage.destination, isAgent, SETTLE_MS),
  },
  {
    what: "it is cancelled",
    mode: "stop-copy",
    reason: "CANCELLED",
    does: (id) => stage.lab.dray(["migration", "cancel", id]),
  },
];

/** Takes long: until a host that does not answer is given up. */
const CUT_OFF: Deed = {
  what: "the destination is cut off",
  mode: "stop-copy",
  reason: "AGENT_UNAVAILABLE",
  does: () => stage.lab.control("partition", stage.destination),
};

const CASES = runsAll ? [...DEEDS, CUT_OFF].flatMap((deed) => MODES.map((mode) => ({ ...deed, mode }))) : DEEDS;

test.each(CASES)("$mode: $what", async ({ mode, reason, does }) => {
  const { lab, source, destination } = stage;
  await lab.ready();
  const { container, prover } = await stage.startProver(`brought-${mode}`, "--mb", String(MEGABYTES), "--shared", "1");
  await lab.link(source, LINK);
  let id = "";
  try {
    const order = ["migrate", container.name, "--to", destination, "--mode", mode, "--detach"];
    ({ id } = (await lab.dray<{ id: string }>(order)).document);
    await sendsItsMemory();
    await does(id);
    const ended = await lab.dray<{ outcome: string; error: { reason: string } }>(["migration", "watch", id]);
    expect(ended.document.outcome).toBe("rolled_back");
    if (reason !== null) expect(ended.document.error.reason).toBe(reason);
  } finally {
    await lab.link(source, "none");
    await lab.control("heal", destination);
  }
  // A destination that was away cleans up when it is back.
  await state.ended(id, lab.nodes, SETTLE_MS);
  expect(await prover.check()).toBeGreaterThan(MEGABYTES * 0.9 * 2 ** 20);
  await assertOneCopy(lab, container, source, { settleMs: SETTLE_MS });
  await lab.ready();
  await migrate(lab, container.name, destination, "--mode", mode);
  await prover.check();
  prover.close();
  await stage.nothingElseLeft();
});

/** CRIU dumps, and part of what it brings is on its way. */
async function sendsItsMemory(): Promise<void> {
  const { lab, source } = stage;
  const sentBytes = async () => Number(await lab.exec(source, ["cat", "/sys/class/net/host0/statistics/tx_bytes"]));
  await appearance(lab, source, isDumpingCriu, SETTLE_MS);
  const before = await sentBytes();
  await eventually(async () => ((await sentBytes()) > before + WELL_INTO_IT_BYTES ? true : undefined), {
    what: "it is in the middle",
    deadlineMs: SETTLE_MS,
  });
}
