/** Programs whose memory is made, moved and given back all the time, moved in rounds by what the kernel notes of writes. */
import { afterEach, beforeAll, expect, test } from "vitest";
import type { CaseMode } from "../faults/case-terms.ts";
import { removeContainer, startContainer } from "../harness/containers.ts";
import { Workload, type WorkloadKind, WORKLOADS, workloadOptions } from "../harness/memory-workload.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { TestLab } from "../harness/test-lab.ts";

const NAME = "vm-workload";
/** Emulated processors. */
const WORKS_DEADLINE_MS = 240_000;
let lab: TestLab;
let source = "";
let destination = "";

beforeAll(async () => {
  lab = await TestLab.open(process.env["DRAYAGE_LAB"] ?? "vm");
  [source = "", destination = ""] = lab.nodes;
  await lab.images(["debian-tools"], [source]);
});

afterEach(async () => {
  await removeContainer(lab, NAME);
});

/** Null for those whose processes and mappings stay what they are. */
const MODES = {
  sparse: null,
  shared: null,
  forks: "pre-copy",
  mappings: "hybrid",
  ending: "pre-copy",
  huge: "hybrid",
} as const satisfies Record<WorkloadKind, CaseMode | null>;
const CASES = WORKLOADS.flatMap(({ kind }) => (MODES[kind] === null ? [] : [{ kind, mode: MODES[kind] }]));

test.each(CASES)("$kind, by $mode", async ({ kind, mode }) => {
  // The kernel has AppArmor, but nobody has loaded Docker's profile, although Docker names it.
  const options = ["--security-opt", "apparmor=unconfined"];
  const address = lab.freeAddress(2);
  const started = { node: source, name: NAME, address, options, ...workloadOptions(kind) };
  const container = await startContainer(lab, started);
  const workload = await Workload.open(lab, source, container, kind);
  try {
    await workload.works(WORKS_DEADLINE_MS);
    const { decisions, rounds } = await migrate(lab, NAME, destination, "--mode", mode);
    expect(decisions[0]).toBe("pages that change are found by what the kernel notes of writes (soft-dirty)");
    expect(rounds.length).toBeGreaterThan(1);
    await workload.works(WORKS_DEADLINE_MS);
    await assertOneCopy(lab, container, destination);
  } finally {
    workload.close();
  }
});
