import type { Node } from "@drayage/shared/gen/drayage/coordinator/v1/cluster.ts";
import { type Connection, unary } from "@drayage/shared/rpc/client.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Coordinator } from "../coordinator.ts";
import { SAGA_TIMES } from "../saga/context.ts";
import { clusterClient, LONG_LEASE_S, TestCluster } from "../test-support/cluster.ts";
import { nodeRecord } from "../test-support/records.ts";

const CALL = { deadlineMs: 5_000 };
let cluster: TestCluster;
let coordinator: Coordinator | undefined;

beforeAll(async () => {
  cluster = await TestCluster.start(["n1", "n2"], LONG_LEASE_S);
}, 60_000);

afterAll(async () => {
  await coordinator?.stop();
  await cluster?.stop();
});

async function lead(name: string): Promise<Connection> {
  await coordinator?.stop();
  coordinator = await cluster.startCoordinator(name, SAGA_TIMES);
  return await cluster.connect([coordinator]);
}

async function nodes(api: Connection): Promise<Node[]> {
  const client = clusterClient(api);
  return (await unary(client, client.listNodes, {}, CALL)).nodes;
}

async function states(api: Connection): Promise<string[]> {
  return (await nodes(api)).map(({ name, state }) => `${name} ${state}`);
}

function forget(api: Connection, name: string): Promise<unknown> {
  const client = clusterClient(api);
  return unary(client, client.forgetNode, { name }, CALL);
}

test("a node that is down outlives the coordinators that saw it, until it is forgotten", async () => {
  const beganMs = Date.now();
  const first = await lead("c1");
  await expect.poll(() => states(first)).toEqual(["n1 ready", "n2 ready"]);
  await expect(forget(first, "n2")).rejects.toMatchObject({ reason: "PREFLIGHT" });
  await cluster.agent("n2").stop();
  await expect.poll(() => states(first)).toEqual(["n1 ready", "n2 down"]);

  const second = await lead("c2");
  expect(await states(second)).toEqual(["n1 ready", "n2 down"]);
  const [up, down] = await nodes(second);
  expect(up?.lastSeenMs).toBe(0);
  expect(down?.lastSeenMs).toBeGreaterThanOrEqual(beganMs);
  expect(down?.host?.kernel).toBe(nodeRecord("n2").host.kernel);

  await forget(second, "n2");
  await expect.poll(() => states(second)).toEqual(["n1 ready"]);
  await expect(forget(second, "n2")).rejects.toMatchObject({ reason: "NOT_FOUND" });

  // Its agent comes back: it is a node like any other, and known again.
  await cluster.client.put(keys.node("n2"), JSON.stringify(nodeRecord("n2")));
  await expect.poll(() => states(second)).toEqual(["n1 ready", "n2 ready"]);
  await expect.poll(() => cluster.client.get(keys.knownNode("n2"))).not.toBeNull();
});
