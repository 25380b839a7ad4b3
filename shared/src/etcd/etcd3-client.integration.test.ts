import { ConnectionPool } from "etcd3/lib/connection-pool.js";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { DrayError } from "../errors/dray-error.ts";
import { abort, commit, confirmRunning, enterSwitch } from "../state/owner.ts";
import { keys } from "../state/keys.ts";
import { changeOwner, readOwner } from "./change-owner.ts";
import type { Change, EtcdPort, WatchStep } from "./etcd-port.ts";
import { openEtcd } from "./etcd3-client.ts";
import { EtcdProcess } from "./test-support/etcd-process.ts";

let etcd: EtcdProcess;
let client: EtcdPort;

/** Node gives each of its warnings once. */
const warnings: Error[] = [];
process.on("warning", (warning) => warnings.push(warning));

beforeAll(async () => {
  etcd = await EtcdProcess.start();
  client = etcd.open();
}, 30_000);

afterAll(async () => {
  client?.close();
  await etcd?.stop();
});

async function reasonOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "none";
  } catch (thrown) {
    return thrown instanceof DrayError ? thrown.reason : String(thrown);
  }
}

/** Reads the watch until so many changes have come; etcd may pack several into one step. */
async function firstChanges(steps: AsyncIterable<WatchStep>, count: number): Promise<Change[]> {
  const seen: Change[] = [];
  for await (const step of steps) {
    if (step.kind === "changes") seen.push(...step.changes);
    if (seen.length >= count) break;
  }
  return seen;
}

describe("the server's certificate", () => {
  const open = (host: string) =>
    openEtcd({ endpoints: [`https://${host}:${new URL(etcd.endpoint).port}`], identity: etcd.identity });

  test.each(["127.0.0.1", "localhost"])("names %s, and nobody is warned of it", async (host) => {
    const named = open(host);
    try {
      expect(await named.get("k/none")).toBeNull();
    } finally {
      named.close();
    }
    expect(warnings).toEqual([]);
  });

  test("does not name 127.0.0.2", async () => {
    const other = open("127.0.0.2");
    try {
      await expect(other.get("k/none", { deadlineMs: 1_500 })).rejects.toThrow(/127\.0\.0\.2 is not in the cert/);
    } finally {
      other.close();
    }
  });
});

describe("keys", () => {
  test("put, get, prefix, delete", async () => {
    expect(await client.get("k/none")).toBeNull();
    const { revision } = await client.put("k/a", "1");
    await client.put("k/b", "2");
    await client.put("l/a", "3");
    const entry = await client.get("k/a");
    expect(entry).toMatchObject({
      key: "k/a",
      value: "1",
      createRevision: revision,
      modRevision: revision,
      leaseId: "0",
    });
    const snapshot = await client.getPrefix("k/");
    expect(snapshot.entries.map((each) => each.key)).toEqual(["k/a", "k/b"]);
    expect((await client.delete("k/a")).deleted).toBe(true);
    expect((await client.delete("k/a")).deleted).toBe(false);
  });

  test("transactions compare presence, value and revisions", async () => {
    const first = await client.txn({
      compare: [{ key: "t", is: "absent" }],
      success: [{ do: "put", key: "t", value: "x" }],
    });
    expect(first.succeeded).toBe(true);
    const again = await client.txn({
      compare: [{ key: "t", is: "absent" }],
      success: [{ do: "put", key: "t", value: "y" }],
      failure: [{ do: "get", key: "t" }],
    });
    expect(again.succeeded).toBe(false);
    expect(again.entries[0]?.value).toBe("x");
    const swapped = await client.txn({
      compare: [
        { key: "t", is: "present" },
        { key: "t", is: "value", value: "x" },
        { key: "t", is: "created-at", revision: first.revision },
        { key: "t", is: "modified-at", revision: first.revision },
      ],
      success: [
        { do: "put", key: "t", value: "z" },
        { do: "delete", key: "none" },
        { do: "get", key: "t" },
      ],
    });
    expect(swapped.succeeded).toBe(true);
    expect(swapped.entries.map((entry) => entry?.value ?? null)).toEqual([null, null, "z"]);
  });
});

describe("watch", () => {
  test("reports history and what follows, in order, once", async () => {
    const { revision } = await client.put("w/a", "1");
    await client.put("w/b", "2");
    const seen = firstChanges(client.watch("w/", { fromRevision: revision }), 3);
    await client.delete("w/a");
    const changes = await seen;
    expect(changes.map((change) => [change.type, change.type === "put" ? change.entry.key : change.key])).toEqual([
      ["put", "w/a"],
      ["put", "w/b"],
      ["delete", "w/a"],
    ]);
  });

  test("ends with the signal", async () => {
    const controller = new AbortController();
    const ended = (async () => {
      for await (const step of client.watch("w/", { signal: controller.signal })) expect(step).toBeUndefined();
    })();
    controller.abort();
    await ended;
  });
});

describe("owner", () => {
  const owner = { uuid: "u1", node: "n1", epoch: 1, state: "running" as const, migrationId: "" };

  test("of commit and abort exactly one wins", async () => {
    await client.put(keys.owner("u1"), JSON.stringify(owner));
    const entered = await changeOwner(client, "u1", (record) => enterSwitch(record, 1, "n1", "m1"));
    expect(entered).toMatchObject({ applied: true, record: { state: "switching", migrationId: "m1" } });
    const results = await Promise.all([
      changeOwner(client, "u1", (record) => commit(record, 1, "n2", "m1")),
      changeOwner(client, "u1", (record) => abort(record, 1, "n1", "m1")),
    ]);
    expect(results.filter((result) => result.applied)).toHaveLength(1);
    const stored = await readOwner(client, "u1");
    expect(stored?.record.epoch).toBe(2);
    expect(results[0]?.record).toEqual(stored?.record);
    expect(results[1]?.record).toEqual(stored?.record);
  });

  test("a condition that no longer holds is a verdict", async () => {
    await client.put(keys.owner("u2"), JSON.stringify({ ...owner, uuid: "u2", node: "n2", state: "committed" }));
    const { revision } = await client.put("guard", "1");
    await client.delete("guard");
    const result = await changeOwner(client, "u2", (record) => confirmRunning(record, 1, "n2"), {
      compares: [{ key: "guard", is: "created-at", revision }],
    });
    expect(result).toMatchObject({ applied: false, record: { state: "committed" } });
  });
});

describe("an etcd that hangs", () => {
  test("reads end in ETCD_UNAVAILABLE, writes in OUTCOME_UNKNOWN, and a late write is found", {
    timeout: 30_000,
  }, async () => {
    const other = etcd.open();
    const owner = { uuid: "u3", node: "n1", epoch: 1, state: "running", migrationId: "" };
    await other.put(keys.owner("u3"), JSON.stringify(owner));
    etcd.suspend();
    try {
      expect(await reasonOf(other.get("x", { deadlineMs: 1_500 }))).toBe("ETCD_UNAVAILABLE");
    } finally {
      etcd.resume();
    }
    await other.get("x", { deadlineMs: 10_000 });
    etcd.suspend();
    const change = changeOwner(other, "u3", (record) => enterSwitch(record, 1, "n1", "m1"), { deadlineMs: 15_000 });
    try {
      expect(await reasonOf(other.put("late", "1", { deadlineMs: 1_000 }))).toBe("OUTCOME_UNKNOWN");
      await new Promise((resolve) => setTimeout(resolve, 2_000));
    } finally {
      etcd.resume();
    }
    expect(await change).toMatchObject({ applied: true, record: { state: "switching" } });
    expect((await readOwner(other, "u3", { deadlineMs: 10_000 }))?.record.state).toBe("switching");
    other.close();
  });

  test("a guarded lease is lost to its holder while etcd still holds it; when exactly, is for its own tests", {
    timeout: 40_000,
  }, async () => {
    const other = etcd.open();
    const ttlSeconds = 6;
    const lease = await other.grantLease({ ttlSeconds, deadlineMs: 10_000 });
    await other.put("leased", "1", { leaseId: lease.id });
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    expect(lease.held()).toBe(true);
    etcd.suspend();
    const suspendedAt = performance.now();
    await new Promise<void>((resolve) => {
      lease.lost.addEventListener("abort", () => resolve(), { once: true });
    });
    const lostAfterMs = performance.now() - suspendedAt;
    etcd.resume();
    expect(lostAfterMs).toBeLessThan(ttlSeconds * 1000);
    // etcd itself still held the lease when the holder gave up.
    expect(await other.get("leased", { deadlineMs: 10_000 })).not.toBeNull();
    other.close();
  });

  test("a watch goes on after it, nothing lost", { timeout: 40_000 }, async () => {
    const other = etcd.open();
    const { revision } = await other.put("v/a", "1", { deadlineMs: 10_000 });
    const seen = firstChanges(other.watch("v/", { fromRevision: revision }), 2);
    etcd.suspend();
    await new Promise((resolve) => setTimeout(resolve, 15_000));
    etcd.resume();
    await client.get("x", { deadlineMs: 10_000 });
    await client.put("v/b", "2", { deadlineMs: 10_000 });
    const changes = await seen;
    expect(changes.map((change) => (change.type === "put" ? change.entry.key : "deleted"))).toEqual(["v/a", "v/b"]);
    other.close();
  });

  test("a revoked lease takes its keys along", async () => {
    const lease = await client.grantLease({ ttlSeconds: 10, deadlineMs: 10_000 });
    await client.put("revoked", "1", { leaseId: lease.id });
    await lease.revoke();
    expect(lease.lost.aborted).toBe(true);
    expect(await client.get("revoked")).toBeNull();
  });
});

describe("a cluster of three", () => {
  let members: EtcdProcess[] = [];
  let all: EtcdPort | undefined;

  const cluster = (): EtcdPort => {
    if (all === undefined) throw new Error("the cluster is not open");
    return all;
  };

  beforeEach(async () => {
    members = await EtcdProcess.startCluster(3);
    const [first] = members;
    if (first === undefined) throw new Error("no member");
    all = openEtcd({ endpoints: members.map(({ endpoint }) => endpoint), identity: first.identity });
    // A connection to each stands.
    for (let reads = 0; reads < 20; reads++) await cluster().get("x");
  }, 60_000);

  afterEach(async () => {
    all?.close();
    all = undefined;
    await Promise.all(members.splice(0).map((member) => member.stop()));
  });

  test("a lease is kept while the member that would be asked first hangs", { timeout: 60_000 }, async () => {
    const lease = await cluster().grantLease({ ttlSeconds: 12 });
    // The last member is the first choice of every call, instead of chance.
    ConnectionPool.deterministicOrder = true;
    members.at(-1)?.suspend();
    try {
      // Past what a member that hangs may take until its connections count as broken.
      await new Promise((resolve) => setTimeout(resolve, 15_000));
      expect(lease.held()).toBe(true);
    } finally {
      ConnectionPool.deterministicOrder = false;
      await lease.revoke();
      members.at(-1)?.resume();
    }
  });
});
