/** `dray migrate` against scripted coordinators. */
import { once } from "node:events";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { Severity } from "@drayage/shared/gen/drayage/common/v1/finding.ts";
import {
  Migration,
  type DeepPartial,
  Mode,
  Outcome,
  type StartMigrationRequest,
} from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Interrupts } from "./interrupts.ts";
import { TestCluster } from "./test-support/cluster.ts";

const ID = "a1b2c3d4e5f6";

let cluster: TestCluster;
beforeEach(async () => {
  cluster = await TestCluster.make();
});
afterEach(() => cluster.close());

function times(...names: readonly string[]) {
  return names.map((name) => ({ name, startedAtMs: Date.UTC(2026, 0, 1), durationMs: 400, node: "n1" }));
}

function migration(changes: DeepPartial<Migration>): Migration {
  return Migration.fromPartial({
    id: ID,
    container: "web",
    containerUuid: "uuid",
    source: "n1",
    destination: "n2",
    mode: Mode.MODE_STOP_COPY,
    phase: "sync",
    startedAtMs: Date.UTC(2026, 0, 1),
    phases: times("preflight"),
    ...changes,
  });
}

const completed = migration({
  phase: "done",
  outcome: Outcome.OUTCOME_COMPLETED,
  downtimeMs: 412,
  totalMs: 3_210,
  memoryBytes: 214e6,
  wireBytes: 118e6,
  rounds: [{ bytes: 4_096, pages: 1, durationMs: 2, dirtyBytes: 4_096 }],
});

const rolledBack = migration({
  phase: "done",
  outcome: Outcome.OUTCOME_ROLLED_BACK,
  error: { reason: "CRIU_DUMP_FAILED", message: "io_uring", remedy: "Turn it off.", phase: "switch", node: "n1" },
});

/** A coordinator that accepts and then shows these states. */
function showing(...states: Migration[]) {
  return {
    startMigration: async () => ({ migration: migration({ phase: "preflight", phases: [] }) }),
    watchMigration: async function* () {
      for (const state of states) yield { migration: state };
    },
  };
}

describe("an attached migration", () => {
  it("whose outcome is not known ends with 7, says what to do, and does not ask again", async () => {
    let asked = 0;
    const unknown = migration({
      phase: "abort",
      outcome: Outcome.OUTCOME_UNKNOWN,
      reason: "node n1 does not answer. Bring n1 back.",
      error: { reason: "CANCELLED", message: "the migration was cancelled", remedy: "Nothing to do.", phase: "switch" },
    });
    const { watchMigration, ...rest } = showing(migration({}), unknown);
    const counted = async function* () {
      asked += 1;
      yield* watchMigration();
    };
    await cluster.coordinator("c1", { migrations: { ...rest, watchMigration: counted } });
    const { code, stderr } = await cluster.dray(["migrate", "web", "--to", "n2"]);
    expect([code, asked]).toEqual([7, 1]);
    expect(stderr).toContain("it is not known yet whether web belongs to n1 or n2; it may be frozen");
    expect(stderr).toContain("Bring n1 back.");
    expect(stderr).toContain(
      `remedy: It goes on without this command. Ask again with \`dray migration inspect ${ID}\`.`,
    );
    expect(stderr).not.toContain("Nothing to do.");
  });

  it("tells its phases and its end", async () => {
    await cluster.coordinator("c1", { migrations: showing(migration({}), completed) });
    const { code, stdout, stderr } = await cluster.dray(["migrate", "web", "--to", "n2"]);
    expect(code).toBe(0);
    expect(stdout).toBe("web runs on n2: down 412 ms, 3.21 s in all, 214 MB of memory, 118 MB on the wire\n");
    expect(stderr.split("\n")).toEqual([
      "web: n1 → n2, stop-copy (a1b2c3d4e5f6)",
      "preflight: begins",
      "preflight: done in 400 ms",
      "sync: begins",
      "",
    ]);
  });

  it("with --json prints one document and nothing else", async () => {
    await cluster.coordinator("c1", { migrations: showing(migration({}), completed) });
    const { code, stdout, stderr } = await cluster.dray(["migrate", "web", "--json"]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toMatchObject({
      id: ID,
      container: "web",
      source: "n1",
      destination: "n2",
      mode: "stop-copy",
      outcome: "completed",
      reason: "",
      downtime_ms: 412,
      total_ms: 3_210,
      rounds: [{ bytes: 4_096, pages: 1, duration_ms: 2, dirty_bytes: 4_096 }],
      memory_bytes: 214e6,
      wire_bytes: 118e6,
      phases: [{ name: "preflight", started_at: "2026-01-01T00:00:00.000Z", duration_ms: 400, node: "n1" }],
      error: null,
    });
  });

  it.each([
    [rolledBack, 6, "web was not migrated; it runs on n1 as before\n  switch on n1: io_uring\n  remedy: Turn it off."],
    [migration({ ...rolledBack, outcome: Outcome.OUTCOME_FAILED }), 1, "does not run on n1"],
    [migration({ ...rolledBack, error: { reason: "TIMEOUT" } }), 124, "runs on n1 as before"],
  ])("that fails says where the container is", async (end, exitCode, said) => {
    await cluster.coordinator("c1", { migrations: showing(end) });
    const { code, stdout, stderr } = await cluster.dray(["migrate", "web"]);
    expect([code, stdout]).toEqual([exitCode, ""]);
    expect(stderr).toContain(said);
  });

  it("sends what was asked for", async () => {
    let request: StartMigrationRequest | undefined;
    await cluster.coordinator("c1", {
      migrations: {
        startMigration: async (asked) => {
          request = asked;
          return { migration: completed };
        },
      },
    });
    const options = "--mode hybrid --max-downtime 300ms --bandwidth 500M --timeout 10m --allow-connection-loss -d";
    const constraints = ["--constraint", "node.labels.zone == b", "--constraint", "node.name!=n1"];
    const { code, stdout } = await cluster.dray(["migrate", "web", ...options.split(" "), ...constraints]);
    expect([code, stdout]).toEqual([0, `${ID}\n`]);
    expect(request).toMatchObject({
      container: "web",
      to: "",
      mode: Mode.MODE_HYBRID,
      maxDowntimeMs: 300,
      bandwidthBytesPerSecond: 500e6,
      constraints: ["node.labels.zone==b", "node.name!=n1"],
      timeoutMs: 600_000,
      dryRun: false,
      allowFlags: ["--allow-connection-loss"],
    });
    expect(request?.requestId).toMatch(/^[0-9a-f-]{36}$/);
  });

  it.each([[["web", "--to", ""]], [["", "--to", "n2"]], [["web", "--to", " "]]])(
    "to or of an empty name asks nobody: %j",
    async (words) => {
      const { code, stderr } = await cluster.dray(["migrate", ...words]);
      expect(code).toBe(2);
      expect(stderr).toContain("the name is empty");
    },
  );

  it("that is refused says why, exit code 4", async () => {
    await cluster.coordinator("c1", {
      migrations: {
        startMigration: async () => {
          const severity = Severity.SEVERITY_BLOCKING;
          const words = { message: "Zu alt, für alles.", remedy: "r.", allowFlag: "" };
          const findings = [{ code: "criu-too-old", severity, node: "n2", ...words }];
          throw new DrayError("PREFLIGHT", "CRIU is too old on n2", { remedy: "Install CRIU 4.2.", findings });
        },
      },
    });
    const plain = await cluster.dray(["migrate", "web", "--dry-run"]);
    expect(plain).toEqual({
      code: 4,
      stdout: "",
      stderr: "dray: c1: CRIU is too old on n2\n  remedy: Install CRIU 4.2.\n",
    });
    const json = await cluster.dray(["migrate", "web", "--json"]);
    expect(json.code).toBe(4);
    expect(JSON.parse(json.stdout)).toEqual({
      error: {
        reason: "PREFLIGHT",
        message: "CRIU is too old on n2",
        remedy: "Install CRIU 4.2.",
        node: "c1",
        findings: [
          {
            code: "criu-too-old",
            severity: "blocking",
            node: "n2",
            message: "Zu alt, für alles.",
            remedy: "r.",
            allow_flag: "",
          },
        ],
      },
      exit_code: 4,
    });
  });
});

describe("a change of leader", () => {
  it("is waited out, with the same request id", async () => {
    const ids = new Set<string>();
    let attempts = 0;
    const start = async ({ requestId }: StartMigrationRequest) => {
      ids.add(requestId);
      if (++attempts < 4) throw new DrayError("NO_LEADER", "electing");
      return { migration: migration({}) };
    };
    await cluster.coordinator("c1", { migrations: { ...showing(completed), startMigration: start } });
    await cluster.coordinator("c2", { migrations: { ...showing(completed), startMigration: start } });
    const { code, stderr } = await cluster.dray(["migrate", "web"]);
    expect([code, attempts, ids.size]).toEqual([0, 4, 1]);
    const [lost, back] = stderr.split("\n");
    expect(lost).toMatch(/^c1 \(127\.0\.0\.1:\d+\) does not answer \(electing\); trying 127\.0\.0\.1:\d+, 127/);
    expect(back).toMatch(/^c[12] \(127\.0\.0\.1:\d+\) answers, after [\d.]+ m?s$/);
  });

  it("in the middle leads to the next coordinator", async () => {
    const leader = await cluster.coordinator("c1", {
      migrations: {
        ...showing(),
        watchMigration: async function* (_, { signal }) {
          yield { migration: migration({}) };
          void leader.shutdown(0);
          await once(signal, "abort");
        },
      },
    });
    await cluster.coordinator("c2", {
      migrations: showing(migration({ phase: "finish", phases: times("preflight", "sync") }), completed),
    });
    const { code, stdout, stderr } = await cluster.dray(["migrate", "web"]);
    expect(code).toBe(0);
    expect(stdout).toContain("web runs on n2");
    expect(stderr).toContain("finish: begins");
  });
});

describe("Ctrl-C", () => {
  it("asks for a roll-back, waits for it, exit code 130", async () => {
    const interrupts = new Interrupts();
    const cancelled = Promise.withResolvers<string>();
    await cluster.coordinator("c1", {
      migrations: {
        ...showing(),
        watchMigration: async function* () {
          yield { migration: migration({}) };
          interrupts.interrupt();
          await cancelled.promise;
          yield { migration: migration({ phase: "done", outcome: Outcome.OUTCOME_ROLLED_BACK }) };
        },
        cancelMigration: async ({ id }) => {
          cancelled.resolve(id);
          return { migration: migration({ cancelRequested: true }) };
        },
      },
    });
    const { code, stderr } = await cluster.dray(["migrate", "web"], interrupts);
    expect([code, await cancelled.promise]).toEqual([130, ID]);
    expect(stderr).toContain("web was not migrated; it runs on n1 as before");
  });

  it("that comes too late says so, and the end is told", async () => {
    const interrupts = new Interrupts();
    const asked = Promise.withResolvers<void>();
    await cluster.coordinator("c1", {
      migrations: {
        ...showing(),
        startMigration: async () => {
          interrupts.interrupt();
          return { migration: migration({}) };
        },
        watchMigration: async function* () {
          await asked.promise;
          yield { migration: completed };
        },
        cancelMigration: async () => {
          setImmediate(asked.resolve);
          throw new DrayError("TOO_LATE", "web belongs to n2");
        },
      },
    });
    const { code, stdout, stderr } = await cluster.dray(["migrate", "web"], interrupts);
    expect(code).toBe(0);
    expect(stderr).toContain("not cancelled: web belongs to n2");
    expect(stdout).toContain("web runs on n2");
  });

  it("twice leaves at once and says how to look", async () => {
    const interrupts = new Interrupts();
    await cluster.coordinator("c1", {
      migrations: {
        ...showing(),
        watchMigration: async function* (_, { signal }) {
          yield { migration: migration({}) };
          interrupts.interrupt();
          interrupts.interrupt();
          await once(signal, "abort");
        },
      },
    });
    const { code, stderr } = await cluster.dray(["migrate", "web"], interrupts);
    expect(code).toBe(130);
    expect(stderr).toContain(`dray migration watch ${ID}`);
  });
});
