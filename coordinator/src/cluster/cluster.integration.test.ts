import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import { EtcdProcess } from "@drayage/shared/etcd/test-support/etcd-process.ts";
import { createLogger } from "@drayage/shared/observe/logger.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Leadership } from "../election/leadership.ts";
import { inventoryRecord, nodeRecord } from "../test-support/records.ts";
import { EtcdEventLog } from "./event-log.ts";
import { ClusterView } from "./view.ts";

const logger = createLogger({ level: "silent", part: "coordinator", node: "c1" });
let etcd: EtcdProcess;
let client: EtcdPort;

beforeAll(async () => {
  etcd = await EtcdProcess.start();
  client = etcd.open();
});

afterAll(async () => {
  client?.close();
  await etcd?.stop();
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

async function leadership(): Promise<Leadership> {
  const { revision } = await client.put(keys.candidate("c1"), "{}");
  const entry = await client.get(keys.candidate("c1"));
  const created = entry?.createRevision ?? revision;
  return {
    term: created,
    lost: new AbortController().signal,
    guard: [{ key: keys.candidate("c1"), is: "created-at", revision: created }],
  };
}

test("the view follows nodes through ready, unhealthy, down and back", async () => {
  const stop = new AbortController();
  const view = new ClusterView(client, logger);
  const running = view.run(stop.signal);
  await view.loaded();
  const seen: string[] = [];
  view.onNodeState((node, state, before) => seen.push(`${node.name} ${before ?? "new"} ${state}`));
  const lease = await client.grantLease({ ttlSeconds: 10 });
  const put = (problems: string[]) =>
    client.put(keys.node("n1"), JSON.stringify({ ...nodeRecord("n1"), problems }), { leaseId: lease.id });
  await put([]);
  await client.put(keys.inventory("n1", "d"), JSON.stringify(inventoryRecord()), { leaseId: lease.id });
  await client.put(keys.node("bad"), "not a record");
  await client.put(keys.knownNode("n1"), JSON.stringify({ node: nodeRecord("n1"), lastSeenMs: 7 }));
  await until(() => view.containers().length === 1);
  expect(view.resolve("redis").node).toBe("n1");
  await put(["Docker does not answer"]);
  const beganMs = Date.now();
  await lease.revoke();
  // Each prefix has a watch of its own, and none waits for another.
  await until(() => view.nodes().some(({ state }) => state === "down") && view.containers().length === 0);
  // Seen here, whatever the leader has written down: it may have died with the node.
  expect(view.node("n1").lastSeenMs).toBeGreaterThanOrEqual(beganMs);
  expect(view.addressesOf("n1")).toEqual([]);
  await client.put(keys.node("n1"), JSON.stringify(nodeRecord("n1")));
  await until(() => view.node("n1").state === "ready");
  expect(seen).toEqual(["n1 new ready", "n1 ready unhealthy", "n1 unhealthy down", "n1 down ready"]);
  expect(view.nodes()).toHaveLength(1);
  stop.abort();
  await running;
});

test("of the events the last thousand are kept, in order", async () => {
  const log = await EtcdEventLog.open(client, await leadership(), logger);
  for (let index = 0; index < 1_130; index++) log.add({ type: "test", message: String(index) });
  await log.settled();
  const { entries } = await client.getPrefix(keys.events());
  const messages = entries.map((entry) => Number((JSON.parse(entry.value) as { message: string }).message));
  expect(messages).toEqual(Array.from({ length: 1_000 }, (_, index) => index + 130));
  const next = await EtcdEventLog.open(client, await leadership(), logger);
  next.add({ type: "test", message: "1130" });
  await next.settled();
  expect((await client.getPrefix(keys.events())).entries).toHaveLength(1_000);
});

test("a leader that was replaced writes no event", async () => {
  const old = await leadership();
  await client.delete(keys.candidate("c1"));
  const before = (await client.getPrefix(keys.events())).entries.map((entry) => entry.key);
  const log = await EtcdEventLog.open(client, old, logger);
  log.add({ type: "test", message: "late" });
  await log.settled();
  expect((await client.getPrefix(keys.events())).entries.map((entry) => entry.key)).toEqual(before);
});
