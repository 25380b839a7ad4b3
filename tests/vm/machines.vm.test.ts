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

test("a container moves between kernels with its address, one TCP connection and every byte of its memory", async () => {
  const [source = "", destination = ""] = lab.nodes;
  await importProver(lab, [source]);
  const address = lab.freeAddress(0);
  const command = ["--mb", String(MEGABYTES), "--threads", "2", "--seed", "11"];
  // The kernel has AppArmor, but nobody has loaded Docker's profile, although Docker names it.
  const options = ["--security-opt", "apparmor=unconfined"];
  const image = PROVER_IMAGE;
  const container = await startContainer(lab, { node: source, name: NAME, address, image, command, options });
  const prover = await Prover.open(address);
  try {
    await prover.check();
    for (const to of [destination, source]) {
      const { memory_bytes: memoryBytes } = await migrate(lab, container.name, to, "--mode", "stop-copy");
      expect(await prover.check()).toBeGreaterThan((MEGABYTES - 2) * 2 ** 20);
      expect(memoryBytes).toBeGreaterThan((MEGABYTES - 2) * 2 ** 20);
      await assertOneCopy(lab, container, to);
    }
  } finally {
    prover.close();
  }
});
