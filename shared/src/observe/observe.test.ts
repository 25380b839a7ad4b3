import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { Registry } from "prom-client";
import { describe, expect, test } from "vitest";
import { type HttpEndpoint, serveHttp } from "./http.ts";
import { createLogger, migrationLogger } from "./logger.ts";
import { agentMetrics, coordinatorMetrics, createRegistry } from "./metrics.ts";
import { evaluateReadiness } from "./readiness.ts";
import { createSupervisor, watchdogPeriodMs } from "./sd-notify.ts";
import { VERSION } from "./version.ts";

const silent = createLogger({ level: "silent", part: "test", node: "n1" });

describe("logger", () => {
  const capture = () => {
    const lines: string[] = [];
    return { lines, destination: { write: (line: string) => void lines.push(line) } };
  };

  test("one JSON object a line, with level name, part, node, migration and phase", () => {
    const { lines, destination } = capture();
    const logger = createLogger({ level: "info", part: "agent", node: "n1", destination });
    migrationLogger(logger, "m1", { phase: "switch" }).warn({ downtimeMs: 5 }, "frozen");
    logger.debug("not said");
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      level: "warn",
      part: "agent",
      node: "n1",
      migration_id: "m1",
      phase: "switch",
      downtimeMs: 5,
      msg: "frozen",
    });
  });

  test("secrets stay out, also one level down", () => {
    const { lines, destination } = capture();
    const logger = createLogger({ level: "info", part: "agent", node: "n1", destination });
    logger.info({ token: "s1", request: { secret: "s2", keyPem: "s3" }, config: { Env: ["PASSWORD=s4"] } }, "order");
    expect(lines.join()).not.toMatch(/s1|s2|s3|s4/);
    expect(lines.join()).toContain("[redacted]");
  });
});

describe("metrics", () => {
  test("both parts' metrics stand in one registry each, by their documented names", async () => {
    const agent = createRegistry("agent");
    agentMetrics(agent).phaseDurationSeconds.observe({ phase: "switch" }, 0.2);
    const coordinator = createRegistry("coordinator");
    coordinatorMetrics(coordinator).migrationsTotal.inc({ outcome: "completed", mode: "stop-copy" });
    expect(await agent.metrics()).toContain('drayage_migration_phase_duration_seconds_count{phase="switch"} 1');
    expect(await agent.metrics()).toContain(
      `drayage_build_info{version="${VERSION}",revision="source",role="agent"} 1`,
    );
    expect(await coordinator.metrics()).toContain('drayage_migrations_total{outcome="completed",mode="stop-copy"} 1');
  });

  test("the version is the package's", async () => {
    const manifest: unknown = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
    expect(manifest).toMatchObject({ version: VERSION });
  });
});

describe("HTTP", () => {
  const get = async (endpoint: HttpEndpoint, path: string, method = "GET") => {
    const response = await fetch(`http://127.0.0.1:${endpoint.port}${path}`, { method });
    return { status: response.status, body: await response.text() };
  };

  test("metrics, liveness and readiness with reasons", async () => {
    let etcd: string | null = "no answer for 4 s";
    const readiness = { etcd: () => etcd, docker: () => null };
    const endpoint = await serveHttp({
      address: "127.0.0.1:0",
      registry: createRegistry("agent"),
      readiness,
      logger: silent,
    });
    try {
      expect(await get(endpoint, "/healthz")).toEqual({ status: 200, body: "ok\n" });
      const unready = await get(endpoint, "/readyz");
      expect(unready.status).toBe(503);
      expect(JSON.parse(unready.body)).toEqual({ ready: false, checks: { etcd: "no answer for 4 s", docker: "ok" } });
      etcd = null;
      expect((await get(endpoint, "/readyz?verbose")).status).toBe(200);
      expect((await get(endpoint, "/metrics")).body).toContain("process_cpu_seconds_total");
      expect((await get(endpoint, "/other")).status).toBe(404);
      expect((await get(endpoint, "/metrics", "POST")).status).toBe(405);
      await expect(
        serveHttp({ address: `127.0.0.1:${endpoint.port}`, registry: new Registry(), readiness: {}, logger: silent }),
      ).rejects.toMatchObject({ reason: "BAD_CONFIG" });
    } finally {
      await endpoint.close();
    }
  });

  test("a check that throws is a reason", () => {
    const check = () => {
      throw new Error("boom");
    };
    expect(evaluateReadiness({ check })).toEqual({ ready: false, checks: { check: "boom" } });
  });
});

describe("systemd", () => {
  test.each([
    [{}, null],
    [{ WATCHDOG_USEC: "30000000" }, 15_000],
    [{ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "7" }, 15_000],
    [{ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "8" }, null],
    [{ WATCHDOG_USEC: "x" }, null],
  ])("%j: a ping every %s ms", (env, period) => expect(watchdogPeriodMs(env, 7)).toBe(period));

  test("without NOTIFY_SOCKET nothing is done", async () => {
    const supervisor = createSupervisor({ logger: silent, env: {} });
    await Promise.all([supervisor.ready(), supervisor.status("x"), supervisor.stopping()]);
  });
});

test("a failing systemd-notify is logged and harmless", async () => {
  await promisify(execFile)("systemd-notify", ["--version"]).catch(() =>
    expect.unreachable("systemd-notify is not installed"),
  );
  const lines: string[] = [];
  const logger = createLogger({
    level: "warn",
    part: "t",
    node: "n",
    destination: { write: (line) => void lines.push(line) },
  });
  await createSupervisor({ logger, env: { NOTIFY_SOCKET: "/nonexistent/notify" } }).ready();
  expect(lines.join()).toContain("cannot notify systemd");
});

test("the operations guide names every metric, and none that is not there", async () => {
  const registries = [createRegistry("agent"), createRegistry("coordinator")] as const;
  agentMetrics(registries[0]);
  coordinatorMetrics(registries[1]);
  const there = registries.flatMap((registry) => registry.getMetricsAsArray().map(({ name }) => name));
  const guide = await readFile(join(import.meta.dirname, "../../../docs/operations.md"), "utf8");
  const told = [...guide.matchAll(/`(drayage_\w+)`/g)].map(([, name]) => name);
  expect(new Set(told)).toEqual(new Set(there.filter((name) => name.startsWith("drayage_"))));
});
