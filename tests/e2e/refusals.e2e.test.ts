/** What is refused, found or undone before anything has happened: dry run, preflight, cancel. */
import { describe, expect, test } from "vitest";
import { knownToCluster } from "../harness/containers.ts";
import { eventually } from "../harness/eventually.ts";
import { HeldConnection } from "../harness/held-connection.ts";
import { LineConnection } from "../harness/line-connection.ts";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { FaultPoints } from "../faults/fault-points.ts";
import { Stage } from "./stage.ts";
import { verdictOn } from "./verdict.ts";

const stage = new Stage("refusals", ["redis", "debian-tools"]);
const TOOLS = "debian-tools:latest";
const SLEEP = ["sleep", "3600"];

test("a dry run says yes and touches nothing", async () => {
  const { lab } = stage;
  const address = stage.address();
  const redis = await stage.startRedis({ node: stage.source, name: "dry", address });
  const held = await HeldConnection.redis({ host: address, port: 6379 });
  await knownToCluster(stage.lab, redis.name);
  const { exitCode } = await lab.dray(["migrate", redis.name, "--to", stage.destination, "--dry-run"]);
  expect(exitCode).toBe(0);
  await held.moreReplies(20);
  expect((await held.stop()).longestGap.durationMs).toBeLessThan(2000);
  await assertOneCopy(lab, redis, stage.source);
  await stage.nothingElseLeft();
});

const CASES: readonly {
  readonly what: string;
  readonly code: string;
  readonly options?: readonly string[];
  readonly own?: boolean;
}[] = [
  { what: "a privileged container", code: "privileged", options: ["--privileged"] },
  { what: "a container in the host's network", code: "host-network", options: ["--network=host"], own: true },
  { what: "a container that sees the host's processes", code: "host-pid", options: ["--pid=host"] },
  { what: "a container with a device", code: "devices", options: ["--device=/dev/zero"] },
  { what: "a container with a local volume", code: "local-storage", options: ["--volume=refused-volume:/data"] },
];

describe("preflight refuses with exit code 4, a reason and a remedy, and touches nothing", () => {
  test.each(CASES)("$what: $code", async ({ code, options = [], own }) => {
    const { lab } = stage;
    const place = own === true ? {} : { address: stage.address() };
    const name = `refused-${code}`;
    const container = await stage.start({ node: stage.source, name, image: TOOLS, command: SLEEP, options, ...place });
    await knownToCluster(stage.lab, name);
    const { ok, findings } = await verdictOn(stage.lab, name, stage.destination);
    expect(ok).toBe(false);
    const finding = findings.find((each) => each.code === code);
    expect(finding, JSON.stringify(findings)).toBeDefined();
    expect(finding?.remedy).not.toBe("");
    const { exitCode } = await lab.dray(["migrate", name, "--to", stage.destination]);
    expect(exitCode).toBe(4);
    await assertOneCopy(lab, container, stage.source);
    await lab.tryExec(stage.source, ["docker", "rm", "--force", name]);
    await lab.tryExec(stage.source, ["docker", "volume", "rm", "refused-volume"]);
  });

  test("a bridge network with a connection that could not live: connections-behind-bridge, unless it is allowed", async () => {
    const { lab } = stage;
    const name = "refused-bridge";
    await lab.images(["debian-tools"], [stage.destination]);
    // It has the address there that the container has here: the copy gets another one.
    await stage.start({ node: stage.destination, name: "bridge-neighbour", image: TOOLS, command: SLEEP });
    const options = ["--publish=18080:6379"];
    const container = await stage.start({ node: stage.source, name, image: "redis:latest", options });
    await knownToCluster(stage.lab, name);
    const endpoint = { host: lab.nodeAddress(stage.source), port: 18080 };
    const client = await eventually(() => LineConnection.open(endpoint), { what: "Redis listens", deadlineMs: 15_000 });
    expect(await client.ask("PING\r\n")).toBe("+PONG");
    expect((await verdictOn(stage.lab, name, stage.destination)).findings.map(({ code }) => code)).toContain(
      "connections-behind-bridge",
    );
    expect((await lab.dray(["migrate", name, "--to", stage.destination])).exitCode).toBe(4);
    expect(await client.ask("SET kept here\r\n")).toBe("+OK");

    await migrate(lab, name, stage.destination, "--allow-connection-loss");
    await assertOneCopy(lab, container, stage.destination);
    client.close();
    const redis = (...words: string[]) => lab.docker(stage.destination, "exec", name, "redis-cli", "--raw", ...words);
    expect(await redis("GET", "kept")).toBe("here");
    // Redis was told that the old one has ended; this one is its own.
    expect(await redis("INFO", "clients")).toMatch(/^connected_clients:1\r?$/m);
    const again = await LineConnection.open({ host: lab.nodeAddress(stage.destination), port: 18080 });
    expect(await again.ask("PING\r\n")).toBe("+PONG");
    again.close();
  });

  test("a connection to a bridge network that is opened after preflight: rolled back, unless it is allowed", async () => {
    const { lab, source, destination } = stage;
    const name = "late-connection";
    const container = await stage.start({
      node: source,
      name,
      image: "redis:latest",
      options: ["--publish=18082:6379"],
    });
    await knownToCluster(lab, name);
    const endpoint = { host: lab.nodeAddress(source), port: 18082 };
    const open = () => LineConnection.open(endpoint);
    (await eventually(open, { what: "Redis listens", deadlineMs: 15_000 })).close();
    const findings = async () => (await verdictOn(lab, name, destination)).findings.map(({ code }) => code);
    await eventually(async () => ((await findings()).includes("connections-behind-bridge") ? undefined : true), {
      what: "nobody is connected",
      deadlineMs: 15_000,
    });
    const faults = await FaultPoints.open(lab);
    const order = ["migrate", name, "--to", destination, "--mode", "pre-copy"];
    const connectLate = async (...flags: string[]) => {
      const point = "source.before-round-1";
      await faults.set(source, [{ point, action: "hang" }]);
      const migration = lab.dray<MigrationDocument>([...order, ...flags]);
      await faults.firing(point, 60_000);
      const client = await open();
      expect(await client.ask("PING\r\n")).toBe("+PONG");
      await faults.clear();
      return { client, ...(await migration) };
    };
    try {
      const { client, exitCode, document } = await connectLate();
      expect(exitCode).toBe(6);
      expect(document).toMatchObject({
        outcome: "rolled_back",
        error: {
          reason: "PREFLIGHT",
          phase: "switch",
          node: source,
          message: expect.stringMatching(/has 1 open connection and is on the bridge network bridge,/),
          remedy: expect.stringContaining("--allow-connection-loss"),
        },
      });
      expect(await client.ask("PING\r\n")).toBe("+PONG");
      await assertOneCopy(lab, container, source);
      client.close();
      await eventually(async () => ((await findings()).includes("connections-behind-bridge") ? undefined : true), {
        what: "nobody is connected any more",
        deadlineMs: 15_000,
      });

      const allowed = await connectLate("--allow-connection-loss");
      expect(allowed.document).toMatchObject({ outcome: "completed" });
      await assertOneCopy(lab, container, destination);
      allowed.client.close();
    } finally {
      faults.close();
      await faults.clear();
    }
  });

  test("a paused container: paused", async () => {
    await stage.start({
      node: stage.source,
      name: "refused-paused",
      image: TOOLS,
      command: SLEEP,
      address: stage.address(),
    });
    await knownToCluster(stage.lab, "refused-paused");
    await stage.lab.docker(stage.source, "pause", "refused-paused");
    const { findings } = await verdictOn(stage.lab, "refused-paused", stage.destination);
    expect(findings.map(({ code }) => code)).toContain("paused");
    const { exitCode } = await stage.lab.dray(["migrate", "refused-paused", "--to", stage.destination]);
    expect(exitCode).toBe(4);
    await stage.lab.docker(stage.source, "unpause", "refused-paused");
  });

  test("a name that the destination has given away: name-taken", async () => {
    const { lab } = stage;
    const name = "refused-name";
    await stage.start({ node: stage.source, name, image: TOOLS, command: SLEEP, address: stage.address() });
    await lab.images(["debian-tools"], [stage.destination]);
    await knownToCluster(stage.lab, name);
    await lab.docker(stage.destination, "create", `--name=${name}`, TOOLS);
    const id = await lab.docker(stage.source, "inspect", "--format", "{{.Id}}", name);
    const { exitCode } = await lab.dray(["migrate", id, "--to", stage.destination]);
    expect(exitCode).toBe(4);
    expect((await verdictOn(stage.lab, id, stage.destination)).findings.map(({ code }) => code)).toContain(
      "name-taken",
    );
  });

  test("a container that nobody knows is exit code 3, a node that nobody knows too, nonsense 2", async () => {
    const { lab } = stage;
    expect((await lab.dray(["migrate", "no-such-container", "--to", stage.destination])).exitCode).toBe(3);
    await stage.start({ node: stage.source, name: "stays", image: TOOLS, command: SLEEP, address: stage.address() });
    await knownToCluster(stage.lab, "stays");
    expect((await lab.dray(["migrate", "stays", "--to", "no-such-node"])).exitCode).toBe(3);
    expect((await lab.dray(["migrate", "stays", "--mode", "sideways"])).exitCode).toBe(2);
    const slow = await lab.dray<{ error: { message: string; remedy: string } }>([
      "migrate",
      "stays",
      "--bandwidth",
      "20",
    ]);
    expect(slow.exitCode).toBe(2);
    expect(slow.document.error.message).toContain("20 bytes per second");
    expect(slow.document.error.remedy).toContain("20M are 20 megabytes");
  });
});

describe("cancel", () => {
  test("before the commit: rolled back, the source runs on, on the same connection", async () => {
    const { lab } = stage;
    const address = stage.address();
    const redis = await stage.startRedis({ node: stage.source, name: "cancelled", address, megabytes: 60 });
    const held = await HeldConnection.redis({ host: address, port: 6379 });
    await knownToCluster(stage.lab, redis.name);
    // 60 MB, half of which is noise: at 2 MB/s the switch takes fifteen seconds, in which it can be cancelled.
    const options = ["--to", stage.destination, "--bandwidth", "2M", "--mode", "stop-copy", "--detach"];
    const { document: accepted } = await lab.dray<MigrationDocument>(["migrate", redis.name, ...options]);
    const inspect = async () => (await lab.dray<MigrationDocument>(["migration", "inspect", accepted.id])).document;
    await eventually(async () => ((await inspect()).phase === "switch" ? true : undefined), {
      what: "the switch",
      deadlineMs: 60_000,
      everyMs: 200,
    });
    expect((await lab.dray(["migration", "cancel", accepted.id])).exitCode).toBe(0);
    const ended = await eventually(
      async () => {
        const document = await inspect();
        return document.outcome === null ? undefined : document;
      },
      { what: "the roll-back", deadlineMs: 60_000, everyMs: 200 },
    );
    expect(ended.outcome).toBe("rolled_back");
    expect(ended.error).toMatchObject({ reason: "CANCELLED", phase: "switch" });
    await held.moreReplies(50);
    await held.stop();
    await assertOneCopy(lab, redis, stage.source);
    await stage.nothingElseLeft();
  });

  test("after the commit: too late, exit code 4", async () => {
    const { lab } = stage;
    const redis = await stage.startRedis({ node: stage.source, name: "too-late", address: stage.address() });
    await knownToCluster(stage.lab, redis.name);
    const { document } = await lab.dray<MigrationDocument>(["migrate", redis.name, "--to", stage.destination]);
    expect(document.outcome).toBe("completed");
    expect((await lab.dray(["migration", "cancel", document.id])).exitCode).toBe(4);
    await assertOneCopy(lab, redis, stage.destination);
  });
});
