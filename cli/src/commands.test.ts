/** The commands that read, against scripted coordinators. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { Severity } from "@drayage/shared/gen/drayage/common/v1/finding.ts";
import {
  type CheckRequest,
  Container,
  Event,
  Node,
  NodeVerdict,
} from "@drayage/shared/gen/drayage/coordinator/v1/cluster.ts";
import { type DeepPartial, Migration, Outcome } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestCluster } from "./test-support/cluster.ts";

let cluster: TestCluster;
beforeEach(async () => {
  cluster = await TestCluster.make();
});
afterEach(() => cluster.close());

const nodes = ["n1", "n2"].map((name) =>
  Node.fromPartial({
    name,
    state: "ready",
    cpus: 2,
    memoryTotalBytes: 8e9,
    memoryAvailableBytes: 4e9,
    labels: { zone: "b" },
    host: { criuVersion: 40_201, dockerVersion: "28.5.2", drayageVersion: "0.1.0" },
  }),
);

describe("dray node", () => {
  it("ls prints a table, names, JSON or a template", async () => {
    await cluster.coordinator("c1", { cluster: { listNodes: async () => ({ nodes }) } });
    expect((await cluster.dray(["node", "ls"])).stdout.split("\n").slice(0, 2)).toEqual([
      "NAME   STATE   CONTAINERS   CPUS   MEMORY FREE        DOCKER   CRIU    DRAYAGE   LABELS",
      "n1     ready   0            2      4.0 GB of 8.0 GB   28.5.2   4.2.1   0.1.0     zone=b",
    ]);
    expect((await cluster.dray(["node", "ls", "-q"])).stdout).toBe("n1\nn2\n");
    expect((await cluster.dray(["node", "ls", "--format", "{{.name}} {{.host.criu_version}}"])).stdout).toBe(
      "n1 4.2.1\nn2 4.2.1\n",
    );
    const documents: unknown = JSON.parse((await cluster.dray(["node", "ls", "--json"])).stdout);
    expect(documents).toMatchObject([{ name: "n1", memory_total_bytes: 8e9 }, { name: "n2" }]);
  });

  it("inspect says when one that is down was last seen; rm forgets it", async () => {
    const forgotten: string[] = [];
    await cluster.coordinator("c1", {
      cluster: {
        getNode: async ({ name }) => ({ node: Node.fromPartial({ name, state: "down", lastSeenMs: 1.7e12 }) }),
        forgetNode: async ({ name }) => {
          forgotten.push(name);
          return {};
        },
      },
    });
    expect((await cluster.dray(["node", "inspect", "n2"])).stdout).toMatch(/^last seen: +2023-11-14/m);
    expect((await cluster.dray(["node", "inspect", "n2", "--format", "{{.last_seen}}"])).stdout).toBe(
      "2023-11-14T22:13:20.000Z\n",
    );
    expect((await cluster.dray(["node", "rm", "n2"])).stdout).toBe("n2 is forgotten\n");
    expect(forgotten).toEqual(["n2"]);
  });

  it("inspect of an unknown one exits 3", async () => {
    await cluster.coordinator("c1", {
      cluster: {
        getNode: async ({ name }) => {
          throw new DrayError("NOT_FOUND", `there is no node ${name}`);
        },
      },
    });
    const { code, stderr } = await cluster.dray(["node", "inspect", "n9"]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^dray: there is no node n9\n {2}remedy: .+\n$/);
  });
});

describe("dray container", () => {
  it("ls narrows by node", async () => {
    await cluster.coordinator("c1", {
      cluster: {
        listContainers: async ({ node, all }) => ({
          containers: [Container.fromPartial({ name: `on-${node}-${all}`, dockerId: "0123456789abcdef", node })],
        }),
        listNodes: async () => ({ nodes: [Node.fromPartial({ name: "n2", state: "down" })] }),
      },
    });
    const { stdout, stderr } = await cluster.dray(["container", "ls", "--node", "n1", "-a"]);
    expect(stdout).toContain("on-n1-true   n1     0123456789ab\n");
    expect(stderr).toBe("");
  });

  it("ls says of which nodes it knows nothing", async () => {
    await cluster.coordinator("c1", {
      cluster: {
        listContainers: async () => ({ containers: [] }),
        listNodes: async () => ({
          nodes: [Node.fromPartial({ name: "n1", state: "ready" }), Node.fromPartial({ name: "n2", state: "down" })],
        }),
      },
    });
    const { stderr } = await cluster.dray(["container", "ls"]);
    expect(stderr).toBe("dray: n2 is down; what it has is not known\n");
  });
});

describe("dray migration", () => {
  it.each([
    [[], false],
    [["--allow-progress-loss"], true],
  ])("cancel %j gives up what the copy did: %s", async (flags, given) => {
    let asked: boolean | undefined;
    await cluster.coordinator("c1", {
      migrations: {
        cancelMigration: async ({ id, allowProgressLoss }) => {
          asked = allowProgressLoss;
          return { migration: Migration.fromPartial({ id }) };
        },
      },
    });
    const { code, stdout } = await cluster.dray(["migration", "cancel", "0123456789ab", ...flags]);
    expect([code, asked]).toEqual([0, given]);
    expect(stdout).toContain("0123456789ab is being rolled back");
  });
});

describe("dray check", () => {
  const verdict = (node: string, ok: boolean) =>
    NodeVerdict.fromPartial({
      node,
      ok,
      findings: ok
        ? []
        : [
            {
              code: "bridge",
              severity: Severity.SEVERITY_NEEDS_FLAG,
              message: "m",
              remedy: "r.",
              allowFlag: "--allow-connection-loss",
            },
          ],
    });
  const asked: CheckRequest[] = [];
  const scripted = (...verdicts: NodeVerdict[]) => ({
    cluster: {
      listNodes: async () => ({ nodes }),
      check: async (request: CheckRequest) => {
        asked.push(request);
        return { verdicts };
      },
    },
  });

  it("takes a node for a node and everything else for a container", async () => {
    await cluster.coordinator("c1", scripted(verdict("n1", true)));
    expect((await cluster.dray(["check", "n1"])).stdout).toBe("n1: ok\n");
    expect(asked.at(-1)).toMatchObject({ node: "n1", container: "" });
    await cluster.dray(["check", "web", "--to", "n1", "--allow-connection-loss"]);
    expect(asked.at(-1)).toMatchObject({ node: "n1", container: "web", allowFlags: ["--allow-connection-loss"] });
  });

  it("exits 4 with findings and remedies", async () => {
    await cluster.coordinator("c1", scripted(verdict("n2", false)));
    expect(await cluster.dray(["check", "web", "--to", "n2"])).toEqual({
      code: 4,
      stdout: "n2: not possible\n  refused  m [bridge]\n      remedy: r. Or accept it with --allow-connection-loss.\n",
      stderr: "",
    });
  });

  it("is content with one possible place when none is named", async () => {
    await cluster.coordinator("c1", scripted(verdict("n1", false), verdict("n2", true)));
    expect((await cluster.dray(["check", "web"])).code).toBe(0);
    expect((await cluster.dray(["check", "n1"])).code).toBe(4);
  });
});

describe("dray events", () => {
  it("goes on at another coordinator without repeating", async () => {
    const event = (revision: number) => Event.fromPartial({ revision, type: "node.down", node: "n1", message: "m" });
    const first = await cluster.coordinator("c1", {
      cluster: {
        watchEvents: async function* () {
          yield { event: event(1) };
          yield { event: event(2) };
          void first.shutdown(0);
          throw new DrayError("NO_LEADER", "leaving");
        },
      },
    });
    await cluster.coordinator("c2", {
      cluster: {
        watchEvents: async function* () {
          for (const revision of [1, 2, 3]) yield { event: event(revision) };
        },
      },
    });
    const { code, stdout, stderr } = await cluster.dray(["events", "--format", "{{.revision}}"]);
    expect([code, stdout]).toEqual([0, "1\n2\n3\n"]);
    const [lost, back, ...more] = stderr.trimEnd().split("\n");
    expect(lost).toMatch(/^c1 \(127\.0\.0\.1:\d+\) does not answer \(leaving\); trying (127\.0\.0\.1:\d+(, )?){2}$/);
    expect(back).toMatch(/^c2 \(127\.0\.0\.1:\d+\) answers, after [\d.]+ m?s$/);
    expect(more).toEqual([]);
  });
});

describe("dray migration", () => {
  const migration = Migration.fromPartial({
    id: "a1b2c3d4e5f6",
    container: "web",
    source: "n1",
    destination: "n2",
    phase: "done",
    outcome: Outcome.OUTCOME_COMPLETED,
    downtimeMs: 100,
  });

  it("watch --json prints every change on a line", async () => {
    await cluster.coordinator("c1", {
      migrations: {
        watchMigration: async function* () {
          yield { migration: { ...migration, outcome: Outcome.OUTCOME_UNSPECIFIED, phase: "sync" } };
          yield { migration };
        },
      },
    });
    const { code, stdout } = await cluster.dray(["migration", "watch", "a1", "--json"]);
    const outcomes = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).outcome);
    expect([code, outcomes]).toEqual([0, [null, "completed"]]);
  });

  it("ls and inspect show it", async () => {
    await cluster.coordinator("c1", {
      migrations: {
        listMigrations: async ({ limit }) => ({ migrations: limit === 5 ? [migration] : [] }),
        getMigration: async () => ({ migration }),
      },
    });
    expect((await cluster.dray(["migration", "ls", "--limit", "5", "-q"])).stdout).toBe("a1b2c3d4e5f6\n");
    expect((await cluster.dray(["migration", "ls", "--limit", "0"])).code).toBe(2);
    expect((await cluster.dray(["migration", "inspect", "a1"])).stdout).toMatch(/^downtime: +100 ms$/m);
  });

  it("inspect shows the phase that runs now; and of one that was rolled back, how long it stood still", async () => {
    const progress = { step: "layer", doneBytes: 12e6, totalBytes: 80e6 };
    const running = { outcome: Outcome.OUTCOME_UNSPECIFIED, phase: "sync", phaseStartedAtMs: 1.7e12, progress };
    const error = { reason: "CANCELLED", message: "called off", remedy: "Start it again" };
    const of: Record<string, DeepPartial<Migration>> = {
      running,
      back: { outcome: Outcome.OUTCOME_ROLLED_BACK, frozenMs: 412.34 },
      unknown: { outcome: Outcome.OUTCOME_UNKNOWN, error },
    };
    await cluster.coordinator("c1", {
      migrations: {
        getMigration: async ({ id }) => ({
          migration: Migration.fromPartial({ ...migration, ...of[id] }),
        }),
      },
    });
    const inspect = async (...args: string[]) => (await cluster.dray(["migration", "inspect", ...args])).stdout;
    expect(await inspect("running")).toMatch(/^sync +\+.+ runs$/m);
    expect(await inspect("running")).toMatch(/^progress: +layer 12.0 MB of 80.0 MB$/m);
    expect(JSON.parse(await inspect("running", "--json"))).toMatchObject({
      phase: "sync",
      phase_started_at: "2023-11-14T22:13:20.000Z",
      frozen_ms: null,
    });
    expect(await inspect("unknown")).toMatch(/^remedy: +It goes on without this command/m);
    expect(await inspect("unknown")).not.toContain("Start it again");
    expect(await inspect("back")).toMatch(/^stood still: +412 ms$/m);
    expect(JSON.parse(await inspect("back", "--json"))).toMatchObject({ phase_started_at: "", frozen_ms: 412.3 });
  });
});

describe("dray", () => {
  it("says who does not answer, exit code 5", async () => {
    const server = await cluster.coordinator("c1", {});
    await server.shutdown(0);
    const { code, stdout } = await cluster.dray(["version", "--json"]);
    expect(code).toBe(5);
    expect(JSON.parse(stdout)).toMatchObject({ client: { version: "0.1.0" }, server: { error: expect.any(String) } });
  });

  it.each([["nothing-known"], ["migrate"], ["node", "ls", "--nope"], ["migrate", "web", "--timeout", "5"]])(
    "exits 2 for `dray %s %s %s`",
    async (...args) => expect((await cluster.dray(args)).code).toBe(2),
  );

  it("tells usage errors as all others", async () => {
    const plain = await cluster.dray(["mograte"]);
    expect(plain).toMatchObject({ code: 2, stdout: "" });
    expect(plain.stderr).toMatch(/^dray: unknown command 'mograte'.*migrate.*\n {2}remedy: .+\n$/);
    const json = await cluster.dray(["node", "ls", "--nope", "--json"]);
    expect([json.code, json.stderr]).toEqual([2, ""]);
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { reason: "BAD_REQUEST" }, exit_code: 2 });
  });

  it.each(["node ls", "container ls", "migration inspect a1", "events", "check", "migrate web", "version"])(
    "refuses a format of nonsense before it asks anybody: %s",
    async (command) => {
      const { code, stdout, stderr } = await cluster.dray([...command.split(" "), "--format", "{{.nonsense}}"]);
      expect([code, stdout]).toEqual([2, ""]);
      expect(stderr).toMatch(/^dray: there is no field "nonsense"\n {2}remedy: There are \w+, .+\n$/);
    },
  );

  it("prints help on stdout", async () => {
    const { code, stdout } = await cluster.dray(["migrate", "--help"]);
    expect(code).toBe(0);
    expect(stdout).toContain("--max-downtime");
  });

  it.each(["bash", "zsh", "fish"])("completes in %s", async (shell) => {
    const { code, stdout } = await cluster.dray(["completion", shell]);
    expect(code).toBe(0);
    expect(stdout).toContain("max-downtime");
  });
});
