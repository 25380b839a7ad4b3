import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { Severity } from "@drayage/shared/gen/drayage/common/v1/finding.ts";
import { type Migration, Mode, Outcome } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { type Connection, serverStream, unary } from "@drayage/shared/rpc/client.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  cancelMigration,
  clusterClient,
  type CoordinatorProcess,
  getMigration,
  LONG_LEASE_S,
  startMigration,
  TestCluster,
  watchMigration,
} from "../test-support/cluster.ts";
import { UUID } from "../test-support/fake-agent.ts";

let cluster: TestCluster;
let coordinator: CoordinatorProcess;
let api: Connection;

beforeAll(async () => {
  cluster = await TestCluster.start(["n1", "n2", "n3"], LONG_LEASE_S);
  coordinator = await cluster.spawnCoordinator("c1", { signs: true });
  api = await cluster.connect([coordinator]);
}, 60_000);

afterAll(async () => {
  await cluster?.stop();
});

beforeEach(() => cluster.reset());

afterEach(async () => {
  expect(cluster.world.breaches).toEqual([]);
  expect((await cluster.client.getPrefix(keys.migrationLock(""))).entries).toEqual([]);
});

async function errorOf(promise: Promise<unknown>): Promise<DrayError> {
  try {
    await promise;
  } catch (thrown) {
    if (thrown instanceof DrayError) return thrown;
    throw thrown;
  }
  throw new Error("nothing was thrown");
}

async function runToEnd(change = {}): Promise<{ states: Migration[]; last: Migration }> {
  const { id } = await startMigration(api, change);
  const states = await watchMigration(api, id);
  const last = states.at(-1);
  if (last === undefined) throw new Error("no state");
  // The outcome may be told before all is cleared; the end is what follows.
  return { states, last };
}

describe("a migration", () => {
  test("completes, phase by phase", async () => {
    const { states, last } = await runToEnd();
    expect(last.outcome).toBe(Outcome.OUTCOME_COMPLETED);
    expect(last.error).toBeUndefined();
    expect(last).toMatchObject({
      source: "n1",
      destination: "n2",
      mode: Mode.MODE_STOP_COPY,
      phase: "done",
      memoryBytes: 4096,
      wireBytes: 5030,
    });
    expect(last.downtimeMs).toBeGreaterThanOrEqual(0);
    expect(last.totalMs).toBeGreaterThan(0);
    const names = last.phases.map((phase) => phase.name);
    for (const name of [
      "preflight",
      "reserve",
      "sync",
      "switch",
      "dump",
      "restore",
      "commit",
      "activate",
      "thaw",
      "finish",
    ]) {
      expect(names).toContain(name);
    }
    expect(states.length).toBeGreaterThan(3);
    expect(states.some(({ phase, phaseStartedAtMs }) => phase === "sync" && phaseStartedAtMs > 0)).toBe(true);
    expect([last.phaseStartedAtMs, last.frozenMs]).toEqual([0, undefined]);
    expect(cluster.world.running()).toEqual(["n2"]);
    expect(cluster.world.get("n1")).toBe("none");
    expect(await cluster.owner()).toMatchObject({ node: "n2", epoch: 2, state: "running" });
  });

  test("whose answer to the activation is lost knows its downtime", async () => {
    cluster.agent("n2").onActivated = () => Promise.reject(new DrayError("PEER_UNAVAILABLE", "the agent was killed"));
    const { last } = await runToEnd();
    expect(last).toMatchObject({ outcome: Outcome.OUTCOME_COMPLETED, error: undefined });
    expect(last.downtimeMs).toBeGreaterThanOrEqual(0);
    expect(cluster.agent("n2").orders.filter((name) => name === "activate")).toHaveLength(1);
  });

  test("tells the source how fast it may send", async () => {
    const { last } = await runToEnd({ bandwidthBytesPerSecond: 3_000_000 });
    expect(last.findings).toEqual([]);
    expect(cluster.agent("n1").syncRequest?.bandwidthBytesPerSecond).toBe(3_000_000);
  });

  test("tells the source in the switch what the operator accepts", async () => {
    const allowFlags = ["--allow-connection-loss"];
    await runToEnd({ allowFlags });
    expect(cluster.agent("n1").switchRequest?.allowFlags).toEqual(allowFlags);
  });

  test("is accepted once for one request id", async () => {
    const requestId = crypto.randomUUID();
    const first = await startMigration(api, { requestId });
    const again = await startMigration(api, { requestId });
    expect(again.id).toBe(first.id);
    await watchMigration(api, first.id);
    expect((await startMigration(api, { requestId })).id).toBe(first.id);
  });

  test("is refused while another of the same container is under way", async () => {
    let release: () => void = () => undefined;
    cluster.agent("n1").onOrder = (name) =>
      name === "sync" ? new Promise((resolve) => (release = resolve)) : Promise.resolve();
    const { id } = await startMigration(api);
    expect((await errorOf(startMigration(api, { to: "n3" }))).reason).toBe("ALREADY_MIGRATING");
    while (!cluster.agent("n1").orders.includes("sync")) await new Promise((resolve) => setTimeout(resolve, 20));
    release();
    await watchMigration(api, id);
  });
});

describe("preflight", () => {
  const finding = {
    code: "criu-too-old",
    severity: Severity.SEVERITY_BLOCKING,
    node: "n2",
    message: "CRIU 3.0 is too old.",
    remedy: "Install CRIU 4.2.",
    allowFlag: "",
  };

  test("refuses with findings, and nothing is touched", async () => {
    cluster.agent("n2").destinationFindings = [finding];
    const error = await errorOf(startMigration(api));
    expect(error.reason).toBe("PREFLIGHT");
    expect(error.message).toContain("criu-too-old on n2: CRIU 3.0 is too old. Install CRIU 4.2.");
    expect(error.findings).toEqual([finding]);
    expect(await cluster.owner()).toBeUndefined();
    expect(cluster.agent("n2").orders).toEqual([]);
  });

  test("accepts what the operator's flag accepts", async () => {
    cluster.agent("n2").destinationFindings = [
      { ...finding, severity: Severity.SEVERITY_NEEDS_FLAG, allowFlag: "--allow-x" },
    ];
    expect((await errorOf(startMigration(api))).message).toContain("--allow-x");
    const { last } = await runToEnd({ allowFlags: ["--allow-x"] });
    expect(last.outcome).toBe(Outcome.OUTCOME_COMPLETED);
    expect(last.findings.map(({ code }) => code)).toEqual(["criu-too-old"]);
  });

  test("a dry run records nothing", async () => {
    const migration = await startMigration(api, { to: "", dryRun: true });
    expect(migration).toMatchObject({ id: "", source: "n1" });
    expect(await cluster.owner()).toBeUndefined();
  });

  test("placement takes the next candidate, or says why none will do", async () => {
    cluster.agent("n2").destinationFindings = [finding];
    expect((await startMigration(api, { to: "", dryRun: true })).destination).toBe("n3");
    cluster.agent("n3").destinationFindings = [{ ...finding, node: "n3" }];
    const error = await errorOf(startMigration(api, { to: "" }));
    expect(error.reason).toBe("NO_PLACEMENT");
    for (const part of ["n1: the container is already there", "n2: CRIU 3.0 is too old", "n3: CRIU 3.0 is too old"]) {
      expect(error.message).toContain(part);
    }
    expect(error.findings.map(({ code, node }) => `${node} ${code}`)).toEqual([
      "n1 placement-source",
      "n2 criu-too-old",
      "n3 criu-too-old",
    ]);
  });
});

describe("the source's way to page sockets", () => {
  const finding = {
    code: "pages-unreachable",
    severity: Severity.SEVERITY_BLOCKING,
    node: "n1",
    message: "This node does not reach the page socket.",
    remedy: "Mend the route.",
    allowFlag: "",
  };

  test("refuses a destination, and nothing is touched", async () => {
    cluster.agent("n1").routeFindings = { n2: [finding] };
    const error = await errorOf(startMigration(api));
    expect(error.reason).toBe("PREFLIGHT");
    expect(error.message).toContain("pages-unreachable on n1: This node does not reach the page socket.");
    expect(await cluster.owner()).toBeUndefined();
    expect(cluster.agent("n1").routesAsked).toEqual([["n2"]]);
  });

  test("placement asks once for all candidates, takes one that is reached, or says why none will do", async () => {
    cluster.agent("n1").routeFindings = { n2: [finding] };
    expect((await startMigration(api, { to: "", dryRun: true })).destination).toBe("n3");
    expect(cluster.agent("n1").routesAsked).toEqual([["n2", "n3"]]);
    cluster.agent("n1").routeFindings = { n2: [finding], n3: [finding] };
    const error = await errorOf(startMigration(api, { to: "" }));
    expect(error.reason).toBe("NO_PLACEMENT");
    for (const node of ["n2", "n3"]) expect(error.message).toContain(`${node}: This node does not reach`);
  });
});

describe("the way back", () => {
  test.each(["reserve", "sync", "prepare", "switch"] as const)(
    "a failing %s leaves the source running",
    async (order) => {
      const node = order === "reserve" || order === "prepare" ? "n2" : "n1";
      cluster.agent(node).onOrder = async (name) => {
        if (name === order) throw new DrayError("NO_SPACE", "no space left", { node });
      };
      const { last } = await runToEnd();
      expect(last.outcome).toBe(Outcome.OUTCOME_ROLLED_BACK);
      // How long that took is told, too.
      expect(last.phases.at(-1)?.name).toBe("abort");
      expect(last.error).toMatchObject({ reason: "NO_SPACE", node, message: "no space left" });
      expect(cluster.world.running()).toEqual(["n1"]);
      expect(cluster.world.get("n2")).toBe("none");
      expect(await cluster.owner()).toMatchObject({ node: "n1", state: "running", epoch: order === "switch" ? 2 : 1 });
    },
  );

  test("the cause is told, not the other side's symptom", async () => {
    cluster.agent("n1").onOrder = async (name) => {
      if (name === "switch") throw new DrayError("PEER_UNAVAILABLE", "the connection was reset");
    };
    cluster.agent("n2").onOrder = async (name) => {
      if (name !== "prepare") return;
      await cluster.world.until(() => cluster.world.get("n1") === "frozen", AbortSignal.timeout(10_000));
      throw new DrayError("CRIU_RESTORE_FAILED", "restore failed");
    };
    // "held" never comes: the order fails before.
    setTimeout(() => cluster.world.set("n1", "frozen"), 300);
    const { last } = await runToEnd();
    expect(last.error?.reason).toBe("CRIU_RESTORE_FAILED");
    expect(last.outcome).toBe(Outcome.OUTCOME_ROLLED_BACK);
    expect(last.frozenMs).toBe(250);
    const steps = last.phases.map(({ name, node }) => `${name} on ${node}`);
    expect(steps).toEqual(expect.arrayContaining(["revive on n1", "restore on n2", "abort on c1"]));
  });

  test("cancel before the commit rolls back", async () => {
    cluster.agent("n1").onOrder = (name, signal) =>
      name === "switch"
        ? new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }))
        : Promise.resolve();
    const { id } = await startMigration(api);
    while (!cluster.agent("n1").orders.includes("switch")) await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await cancelMigration(api, id)).cancelRequested).toBe(true);
    const last = (await watchMigration(api, id)).at(-1);
    expect(last).toMatchObject({ outcome: Outcome.OUTCOME_ROLLED_BACK, error: { reason: "CANCELLED" } });
    expect(cluster.world.running()).toEqual(["n1"]);
  });

  test("cancel after the commit is too late", async () => {
    let release: () => void = () => undefined;
    cluster.agent("n2").onOrder = (name) =>
      name === "activate" ? new Promise((resolve) => (release = resolve)) : Promise.resolve();
    const { id } = await startMigration(api);
    while (!cluster.agent("n2").orders.includes("activate")) await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await errorOf(cancelMigration(api, id))).reason).toBe("TOO_LATE");
    release();
    expect((await watchMigration(api, id)).at(-1)?.outcome).toBe(Outcome.OUTCOME_COMPLETED);
    expect((await errorOf(cancelMigration(api, id))).reason).toBe("TOO_LATE");
  });

  test("the time limit rolls back", async () => {
    cluster.agent("n1").onOrder = (name, signal) =>
      name === "sync"
        ? new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }))
        : Promise.resolve();
    const { last } = await runToEnd({ timeoutMs: 500 });
    expect(last).toMatchObject({ outcome: Outcome.OUTCOME_ROLLED_BACK, error: { reason: "TIMEOUT" } });
  });

  test("an agent that is away for a while is waited for", async () => {
    let failures = 0;
    cluster.agent("n1").onOrder = async (name) => {
      if (name === "switch") throw new DrayError("CRIU_DUMP_FAILED", "dump failed");
      if (name === "abort" && failures++ < 3) throw new DrayError("AGENT_UNAVAILABLE", "away");
    };
    const { last } = await runToEnd();
    expect(last.outcome).toBe(Outcome.OUTCOME_ROLLED_BACK);
    expect(failures).toBe(4);
  });
});

describe("after the commit", () => {
  test("activation is repeated until it works", async () => {
    let failures = 0;
    cluster.agent("n2").onOrder = async (name) => {
      if (name === "activate" && failures++ < 3) throw new DrayError("ETCD_UNAVAILABLE", "no answer");
    };
    const { last } = await runToEnd();
    expect(last.outcome).toBe(Outcome.OUTCOME_COMPLETED);
    expect(cluster.world.running()).toEqual(["n2"]);
  });
});

describe("the cluster", () => {
  test("nodes, containers, versions and events are shown", async () => {
    await runToEnd();
    const client = clusterClient(api);
    const settings = { deadlineMs: 5_000 };
    const { nodes } = await unary(client, client.listNodes, {}, settings);
    expect(nodes.map(({ name, state }) => `${name} ${state}`)).toEqual(["n1 ready", "n2 ready", "n3 ready"]);
    const { container } = await unary(client, client.getContainer, { container: UUID.slice(0, 8) }, settings);
    expect(container).toMatchObject({ uuid: UUID, name: "redis", epoch: 2, migrationId: "" });
    expect((await errorOf(unary(client, client.getContainer, { container: "nothing" }, settings))).reason).toBe(
      "NOT_FOUND",
    );
    const names = async (node: string) =>
      (await unary(client, client.listContainers, { node, all: false }, settings)).containers.map(({ name }) => name);
    expect(await names("n3")).toEqual([]);
    expect(await errorOf(names("n9"))).toMatchObject({
      reason: "NOT_FOUND",
      remedy: "List what there is with `dray node ls`.",
    });
    const { leader } = await unary(client, client.getVersion, {}, settings);
    expect(leader).toBe("c1");
    const types: string[] = [];
    for await (const { event } of serverStream(client, client.watchEvents, { follow: false }, settings))
      types.push(event?.type ?? "");
    for (const type of ["leader.elected", "migration.started", "migration.phase", "migration.completed"])
      expect(types).toContain(type);
    const { verdicts } = await unary(
      client,
      client.check,
      { container: "redis", node: "n2", allowFlags: [] },
      settings,
    );
    expect(verdicts).toMatchObject([{ node: "n2", ok: true }]);
    const own = { container: "redis", node: container?.node ?? "", allowFlags: [] };
    expect(await errorOf(unary(client, client.check, own, settings))).toMatchObject({
      message: `redis is on ${own.node} already`,
      remedy: expect.stringContaining("leave out --to"),
    });
  });

  test("a migration is found by a prefix of its id", async () => {
    const { last } = await runToEnd();
    expect((await getMigration(api, last.id.slice(0, 8))).id).toBe(last.id);
    expect((await errorOf(getMigration(api, "zzz"))).reason).toBe("NOT_FOUND");
  });
});
