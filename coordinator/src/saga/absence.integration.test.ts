/** Agents that stay away, copies that are lost, an etcd that hangs: what is said, and that nothing doubles. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { Outcome } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { type Connection, unary } from "@drayage/shared/rpc/client.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { Coordinator } from "../coordinator.ts";
import {
  cancelMigration,
  clusterClient,
  getMigration,
  startMigration,
  TestCluster,
  watchMigration,
} from "../test-support/cluster.ts";
import { inventoryRecord } from "../test-support/records.ts";
import { takeBack } from "./take-back.ts";

let cluster: TestCluster;
let coordinator: Coordinator;
let api: Connection;

beforeAll(async () => {
  cluster = await TestCluster.start(["n1", "n2"]);
  coordinator = await cluster.startCoordinator("c1", { graceMs: 800, tidyMs: 2_000 });
  api = await cluster.connect([coordinator]);
}, 60_000);

afterAll(async () => {
  await coordinator?.stop();
  await cluster?.stop();
});

beforeEach(async () => {
  await cluster.reset();
  // An etcd that hung has cost the agents their leases.
  await expect.poll(listed).toEqual(["n1 ready", "n2 ready", "redis on n1"]);
});
afterEach(() => expect(cluster.world.breaches).toEqual([]));

/** What the coordinator sees of the cluster. */
async function listed(): Promise<string[]> {
  const client = clusterClient(api);
  const { nodes } = await unary(client, client.listNodes, {}, { deadlineMs: 5_000 });
  const { containers } = await unary(client, client.listContainers, { node: "", all: true }, { deadlineMs: 5_000 });
  return [
    ...nodes.map(({ name, state }) => `${name} ${state}`),
    ...containers.map(({ name, node }) => `${name} on ${node}`),
  ];
}

async function untilDone(id: string): Promise<void> {
  while ((await getMigration(api, id)).phase !== "done") await new Promise((resolve) => setTimeout(resolve, 50));
}

test("a container whose node was lost a moment ago is waited for", async () => {
  const { entries } = await cluster.client.getPrefix(keys.inventoryOf("n1"));
  const node = await cluster.client.get(keys.node("n1"));
  const records = [...entries, ...(node === null ? [] : [node])];
  for (const { key } of records) await cluster.client.delete(key);
  const starting = startMigration(api);
  await new Promise((resolve) => setTimeout(resolve, 500));
  for (const { key, value, leaseId } of records) await cluster.client.put(key, value, { leaseId });
  const { id } = await starting;
  expect((await watchMigration(api, id)).at(-1)).toMatchObject({ outcome: Outcome.OUTCOME_COMPLETED });
});

test("a copy that stays lost is told as failed, and the source stays frozen", async () => {
  cluster.agent("n2").onOrder = async (name) => {
    if (name === "activate") throw new DrayError("NOT_FOUND", "the copy is gone");
  };
  const { id } = await startMigration(api);
  const last = (await watchMigration(api, id)).at(-1);
  expect(last).toMatchObject({ outcome: Outcome.OUTCOME_FAILED, error: { reason: "NOT_FOUND", phase: "activate" } });
  expect(last?.reason).toContain("kept frozen");
  expect(cluster.world.get("n1")).toBe("frozen");
  expect(cluster.agent("n1").orders).not.toContain("finish");
  // The container may not be moved while it belongs to nobody that runs it.
  await expect(startMigration(api)).rejects.toMatchObject({ reason: "NOT_OWNER" });
});

test("a lost copy is given up when the operator says so, and only then", async () => {
  cluster.agent("n2").onOrder = async (name) => {
    if (name !== "activate") return;
    cluster.world.set("n2", "none");
    throw new DrayError("NOT_OWNER", "the copy is gone", { node: "n2" });
  };
  const { id } = await startMigration(api);
  await untilDone(id);
  const { error } = await getMigration(api, id);
  expect(error).toMatchObject({ reason: "NOT_OWNER", message: "the copy is gone", node: "n2" });
  expect(error?.remedy).toContain(`dray migration cancel ${id} --allow-progress-loss`);
  await expect(cancelMigration(api, id)).rejects.toMatchObject({ reason: "TOO_LATE" });
  expect(cluster.world.running()).toEqual([]);

  expect(await cancelMigration(api, id, true)).toMatchObject({ cancelRequested: true, phase: "abort" });
  await untilDone(id);
  expect(await getMigration(api, id)).toMatchObject({
    outcome: Outcome.OUTCOME_ROLLED_BACK,
    reason: "rolled back: the copy is gone",
  });
  expect(cluster.world.running()).toEqual(["n1"]);
  expect(await cluster.owner()).toMatchObject({ node: "n1", epoch: 3, state: "running" });
  await expect(cancelMigration(api, id, true)).rejects.toMatchObject({ reason: "TOO_LATE" });
});

test("a copy that has processes is not given up", async () => {
  cluster.agent("n2").onOrder = async (name) => {
    if (name === "activate") throw new DrayError("NOT_FOUND", "this agent has no such part");
  };
  const { id } = await startMigration(api);
  await untilDone(id);
  const node = await cluster.client.get(keys.node("n2"));
  const copy = inventoryRecord({ node: "n2", dockerId: "b".repeat(64) });
  const leaseId = node?.leaseId ?? "";
  await cluster.client.put(keys.inventory("n2", copy.dockerId), JSON.stringify(copy), { leaseId });
  await expect(cancelMigration(api, id, true)).rejects.toMatchObject({
    reason: "TOO_LATE",
    remedy: "End it there first: docker rm --force redis",
  });
  expect(await cluster.owner()).toMatchObject({ node: "n2", state: "committed" });
  await cluster.client.delete(keys.inventory("n2", copy.dockerId));
});

test("a copy of which nobody can tell is not given up", async () => {
  cluster.agent("n2").onOrder = async (name) => {
    if (name === "activate") throw new DrayError("NOT_FOUND", "this agent has no such part");
  };
  const { id } = await startMigration(api);
  await untilDone(id);
  const leadership = { guard: [], lost: new AbortController().signal };
  const deps = { etcd: cluster.client, leadership, isUp: () => false, inventory: () => [] };
  await expect(takeBack(deps, id)).rejects.toMatchObject({ reason: "AGENT_UNAVAILABLE", node: "n2" });
  expect(await cluster.owner()).toMatchObject({ node: "n2", state: "committed" });
});

test("nothing is given up of what has completed", async () => {
  const { id } = await startMigration(api);
  await untilDone(id);
  await expect(cancelMigration(api, id, true)).rejects.toMatchObject({ reason: "TOO_LATE" });
  expect(cluster.world.running()).toEqual(["n2"]);
});

test("a destination that stays away after the commit: unknown, and completed when it is back", async () => {
  let isAway = true;
  cluster.agent("n2").onOrder = async (name) => {
    if (name === "activate" && isAway) throw new DrayError("AGENT_UNAVAILABLE", "no route to host");
  };
  const { id } = await startMigration(api);
  const last = (await watchMigration(api, id)).at(-1);
  expect(last).toMatchObject({ outcome: Outcome.OUTCOME_UNKNOWN, phase: "activate" });
  expect(last?.reason).toContain("must not be resumed");
  expect(cluster.world.get("n1")).toBe("frozen");
  await expect(startMigration(api)).rejects.toMatchObject({ reason: "ALREADY_MIGRATING" });
  isAway = false;
  await untilDone(id);
  expect((await getMigration(api, id)).outcome).toBe(Outcome.OUTCOME_COMPLETED);
  expect(cluster.world.running()).toEqual(["n2"]);
});

test("a source that stays away before the commit: unknown, and rolled back when it is back", async () => {
  let isAway = true;
  cluster.agent("n1").onOrder = async (name) => {
    if (name === "switch") throw new DrayError("AGENT_UNAVAILABLE", "connection lost");
    if (name === "abort" && isAway) throw new DrayError("AGENT_UNAVAILABLE", "no route to host");
  };
  const { id } = await startMigration(api);
  const told = await watchMigration(api, id);
  expect(told.at(-1)).toMatchObject({ outcome: Outcome.OUTCOME_UNKNOWN, phase: "abort" });
  expect(told.map(({ progress }) => progress?.message)).toContainEqual(
    "waits for n1, the source, to say that the container runs: no route to host",
  );
  expect(cluster.world.running()).toEqual([]);
  isAway = false;
  await untilDone(id);
  expect((await getMigration(api, id)).outcome).toBe(Outcome.OUTCOME_ROLLED_BACK);
  expect(cluster.world.running()).toEqual(["n1"]);
});

test("a destination that stays away when a migration goes back: waited for a while, and that is told", async () => {
  cluster.agent("n1").onOrder = async (name) => {
    if (name === "switch") throw new DrayError("CRIU_DUMP_FAILED", "dump failed");
  };
  cluster.agent("n2").onOrder = async (name) => {
    if (name === "abort") throw new DrayError("AGENT_UNAVAILABLE", "no route to host");
  };
  const { id } = await startMigration(api);
  const told = await watchMigration(api, id);
  expect(told.at(-1)?.outcome).toBe(Outcome.OUTCOME_ROLLED_BACK);
  expect(told.map(({ progress }) => progress?.message)).toContainEqual(
    "waits up to 1 s for n2 to clean up, else it does when it is back: no route to host",
  );
  expect(cluster.world.running()).toEqual(["n1"]);
});

test("a source that stays away after the end: completed, with a warning", async () => {
  cluster.agent("n1").onOrder = async (name) => {
    if (name === "finish") throw new DrayError("AGENT_UNAVAILABLE", "no route to host");
  };
  const { id } = await startMigration(api);
  expect((await watchMigration(api, id)).at(-1)).toMatchObject({ outcome: Outcome.OUTCOME_COMPLETED, phase: "finish" });
  await untilDone(id);
  const ended = await getMigration(api, id);
  expect(ended.outcome).toBe(Outcome.OUTCOME_COMPLETED);
  expect(ended.reason).toContain("n1 has not cleaned up yet");
  cluster.world.set("n1", "none");
});

test("the source that takes its container back before the commit wins", async () => {
  cluster.agent("n1").onOrder = async (name) => {
    if (name !== "switch") return;
    const owner = await cluster.owner();
    // As its agent does after a restart in the middle.
    await cluster.client.put(keys.owner(owner?.uuid ?? ""), JSON.stringify({ ...owner, epoch: 2, state: "running" }));
  };
  const { id } = await startMigration(api);
  const last = (await watchMigration(api, id)).at(-1);
  expect(last).toMatchObject({ outcome: Outcome.OUTCOME_ROLLED_BACK });
  expect(cluster.world.running()).toEqual(["n1"]);
});

test("the destination's agent restarts before the commit: rolled back", async () => {
  cluster.agent("n1").onOrder = async (name) => {
    if (name !== "switch") return;
    const entry = await cluster.client.get(keys.node("n2"));
    const leaseId = await cluster.client.grantBareLease({ ttlSeconds: 600 });
    await cluster.client.put(keys.node("n2"), entry?.value ?? "", { leaseId });
  };
  const { id } = await startMigration(api);
  expect((await watchMigration(api, id)).at(-1)).toMatchObject({
    outcome: Outcome.OUTCOME_ROLLED_BACK,
    error: { reason: "AGENT_UNAVAILABLE", phase: "commit", node: "n2" },
  });
  expect(cluster.world.running()).toEqual(["n1"]);
});

test.each(["sync", "switch"] as const)(
  "etcd hangs in %s and comes back: the next term ends the migration",
  async (order) => {
    let hung = false;
    cluster.agent("n1").onOrder = async (name) => {
      if (name !== order || hung) return;
      hung = true;
      cluster.etcd.suspend();
      setTimeout(() => cluster.etcd.resume(), 4_000);
    };
    const { id } = await startMigration(api);
    const last = (await watchMigration(api, id)).at(-1);
    await untilDone(id);
    expect([Outcome.OUTCOME_COMPLETED, Outcome.OUTCOME_ROLLED_BACK]).toContain(last?.outcome);
    expect(cluster.world.running()).toHaveLength(1);
  },
);
