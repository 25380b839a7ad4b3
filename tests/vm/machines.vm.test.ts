/** Virtual machines: what nodes that share one kernel and one clock cannot show. */
import { afterEach, beforeAll, expect, test } from "vitest";
import type { NodeDocument } from "../../cli/src/documents/cluster-documents.ts";
import { removeContainer, startContainer } from "../harness/containers.ts";
import { importProver, Prover, PROVER_IMAGE } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { TestLab } from "../harness/test-lab.ts";

const NAME = "vm-prover";
const MEGABYTES = 24;
const PRE_COPIED_MEGABYTES = 64;
const PAGES_PER_SECOND = 20;
/** The machines' clocks are not this process's: emulated ones may run ahead for a moment. */
const CLOCK_TOLERANCE_MS = 500;
let lab: TestLab;

beforeAll(async () => {
  lab = await TestLab.open(process.env["DRAYAGE_LAB"] ?? "vm");
});

afterEach(async () => {
  await removeContainer(lab, NAME);
});

test("dray sees both nodes", async () => {
  const { document } = await lab.dray<NodeDocument[]>(["node", "ls"]);
  expect(document.map(({ name, state }) => ({ name, state }))).toEqual([
    { name: "n1", state: "ready" },
    { name: "n2", state: "ready" },
  ]);
});

test("every node has a kernel of its own, which notes what is written, and its own time since boot", async () => {
  const boots = new Set<string>();
  const uptimes: number[] = [];
  for (const node of lab.nodes) {
    expect(await lab.exec(node, ["criu", "check", "--feature", "mem_dirty_track"])).toContain("is supported");
    boots.add(await lab.exec(node, ["cat", "/proc/sys/kernel/random/boot_id"]));
    uptimes.push(Number((await lab.exec(node, ["cat", "/proc/uptime"])).split(" ")[0]));
  }
  expect(boots.size).toBe(lab.nodes.length);
  const [first = 0, second = 0] = uptimes;
  // One boots when the other has booted.
  expect(Math.abs(first - second)).toBeGreaterThan(2);
});

test("a container moves between kernels with its address, one TCP connection, every byte, and clocks that go on", async () => {
  const { container, prover } = await start(MEGABYTES, 2);
  try {
    // One of the two hosts has been up for longer: on the way to the other one its clocks would go back.
    for (const to of bothWays()) {
      const before = await prover.clocks();
      const startedAt = performance.now();
      const { memory_bytes: memoryBytes } = await migrate(lab, container.name, to, "--mode", "stop-copy");
      expect(memoryBytes).toBeGreaterThan((MEGABYTES - 2) * 2 ** 20);
      const after = await prover.clocks();
      const elapsedMs = performance.now() - startedAt;
      for (const passedMs of [after.monotonicMs - before.monotonicMs, after.boottimeMs - before.boottimeMs]) {
        expect(passedMs).toBeGreaterThan(0);
        expect(passedMs).toBeLessThan(elapsedMs + CLOCK_TOLERANCE_MS);
      }
      expect(await prover.check()).toBeGreaterThan((MEGABYTES - 2) * 2 ** 20);
      await assertOneCopy(lab, container, to);
    }
  } finally {
    prover.close();
  }
});

test.each(["pre-copy", "hybrid"])("%s reads again what the kernel has seen written, and nothing else", async (mode) => {
  const { container, prover } = await start(PRE_COPIED_MEGABYTES, 1);
  try {
    await prover.dirty(PAGES_PER_SECOND);
    for (const to of bothWays()) {
      const { decisions, rounds } = await migrate(lab, container.name, to, "--mode", mode);
      expect(decisions[0]).toBe("pages that change are found by what the kernel notes of writes (soft-dirty)");
      expect(rounds.length).toBeGreaterThan(1);
      const [first, ...later] = rounds;
      // The last one is the switch.
      for (const { still_ms: stillMs } of rounds.slice(0, -1)) expect(stillMs).toBeGreaterThan(0);
      expect(first?.bytes).toBeGreaterThan((PRE_COPIED_MEGABYTES - 2) * 2 ** 20);
      for (const { bytes } of later) expect(bytes).toBeLessThan((first?.bytes ?? 0) / 5);
      expect(await prover.check()).toBeGreaterThan((PRE_COPIED_MEGABYTES - 2) * 2 ** 20);
      await assertOneCopy(lab, container, to);
    }
  } finally {
    prover.close();
  }
});

test("memory that moves to other addresses between rounds, a page table at a time, arrives as it is", async () => {
  const { container, prover } = await start(PRE_COPIED_MEGABYTES, 1);
  try {
    await prover.makeTables();
    for (const to of bothWays()) {
      let isMoving = true;
      const moved = (async () => {
        let times = 0;
        for (; isMoving; times++) await prover.rotateTables();
        return times;
      })();
      const { decisions } = await migrate(lab, container.name, to, "--mode", "pre-copy").finally(() => {
        isMoving = false;
      });
      expect(decisions[0]).toBe("pages that change are found by what the kernel notes of writes (soft-dirty)");
      expect(await moved).toBeGreaterThan(2);
      await prover.check();
      await assertOneCopy(lab, container, to);
    }
  } finally {
    prover.close();
  }
});

function bothWays(): readonly string[] {
  const [source = "", destination = ""] = lab.nodes;
  return [destination, source];
}

/** With more than one thread, some of its memory is shared, which the kernel notes nothing of. */
async function start(megabytes: number, threads: number) {
  const [node = ""] = lab.nodes;
  await importProver(lab, [node]);
  const address = lab.freeAddress(0);
  const command = ["--mb", String(megabytes), "--threads", String(threads), "--seed", "11"];
  // The kernel has AppArmor, but nobody has loaded Docker's profile, although Docker names it.
  const options = ["--security-opt", "apparmor=unconfined"];
  const container = await startContainer(lab, { node, name: NAME, address, image: PROVER_IMAGE, command, options });
  return { container, prover: await Prover.open(address) };
}
