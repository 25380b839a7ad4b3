/** One Redis, one client, one TCP connection. */
import { expect, test } from "vitest";
import { runsAll } from "../faults/choice.ts";
import { eventually } from "../harness/eventually.ts";
import { HeldConnection } from "../harness/held-connection.ts";
import { LineConnection } from "../harness/line-connection.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { metricsOf, sumOf } from "../harness/prometheus.ts";
import { modesOfSuite } from "./modes-of-suite.ts";
import { Stage } from "./stage.ts";

const ROUND_TRIPS = Number(process.env["DRAYAGE_ROUND_TRIPS"] ?? "20");
const REPLIES_BETWEEN = 50;
const MEGABYTES = runsAll ? 100 : 20;
/** Of all that it was filled with, byte for byte; a line of Redis' protocol. */
const DIGEST = `EVAL "local digests = {}
for index = 0, ARGV[1] - 1 do digests[index + 1] = redis.sha1hex(redis.call('GET', 'fill:' .. index)) end
return redis.status_reply(redis.sha1hex(table.concat(digests)))" 0 ${MEGABYTES}`.replaceAll("\n", " ");
const stage = new Stage("redis", ["redis", "debian-tools"]);

test(`there and back ${ROUND_TRIPS} times on one connection, in one mode after another`, {
  timeout: ROUND_TRIPS * 120_000,
}, async () => {
  const { lab } = stage;
  const address = stage.address();
  const redis = await stage.startRedis({ node: stage.source, name: "there-and-back", address, megabytes: MEGABYTES });
  const reader = await LineConnection.open({ host: address, port: 6379 });
  const digest = () => reader.ask(`${DIGEST}\r\n`);
  const digestBefore = await digest();
  expect(digestBefore).toMatch(/^\+[0-9a-f]{40}$/);
  const held = await HeldConnection.redis({ host: address, port: 6379 });
  const modes = ["auto", ...modesOfSuite(lab.suite)];
  const completedBefore = await completedMigrations();
  for (let trip = 0; trip < ROUND_TRIPS; trip++) {
    const mode = modes[trip % modes.length] as string;
    for (const to of [stage.destination, stage.source]) {
      await held.moreReplies(REPLIES_BETWEEN);
      const { downtime_ms: downtimeMs, mode: modeAtLast } = await migrate(lab, redis.name, to, "--mode", mode);
      // `auto` says in the end which it was; of so little memory it may be a stop-copy.
      expect(mode === "auto" ? ["stop-copy", "pre-copy", "hybrid"] : [mode]).toContain(modeAtLast);
      await held.moreReplies(REPLIES_BETWEEN);
      const { longestGap } = held.verdict();
      // The client's gap has the network lock in it, and what TCP waits before it sends again.
      expect(longestGap.durationMs).toBeGreaterThan(downtimeMs * 0.5);
      await assertOneCopy(lab, redis, to);
    }
  }
  expect(await digest()).toBe(digestBefore);
  reader.close();
  await stage.nothingElseLeft();
  await held.stop();
  expect((await completedMigrations()) - completedBefore).toBe(2 * ROUND_TRIPS);
});

/** Whoever led counted. */
async function completedMigrations(): Promise<number> {
  const samples = await Promise.all(stage.lab.nodes.map((node) => metricsOf(stage.lab, node, "coordinator")));
  return sumOf(samples.flat(), "drayage_migrations_total", { outcome: "completed" });
}

test.each(["runc", "drayage"])("started with the runtime %s", async (runtime) => {
  const address = stage.address();
  const redis = await stage.startRedis({ node: stage.source, name: `runtime-${runtime}`, address, runtime });
  const held = await HeldConnection.redis({ host: address, port: 6379 });
  await held.moreReplies(REPLIES_BETWEEN);
  for (const to of [stage.third, stage.source]) {
    await migrate(stage.lab, redis.name, to);
    await held.moreReplies(REPLIES_BETWEEN);
    await assertOneCopy(stage.lab, redis, to);
  }
  await held.stop();
});

test("--bandwidth holds, also while the container stands still", async () => {
  const bytesPerSecond = 8e6;
  const redis = await stage.startRedis({
    node: stage.source,
    name: "capped",
    address: stage.address(),
    megabytes: 30,
  });
  const options = ["--bandwidth", "8M", "--mode", "stop-copy"];
  const { wire_bytes: wireBytes, downtime_ms: downtimeMs } = await migrate(
    stage.lab,
    redis.name,
    stage.destination,
    ...options,
  );
  // Half of Redis' values are noise; nothing of the memory travels before the container stands still.
  const noiseBytes = 15 * 1024 * 1024;
  expect(wireBytes).toBeGreaterThan(noiseBytes);
  const burstMs = 150;
  expect(downtimeMs).toBeGreaterThan((1000 * noiseBytes) / bytesPerSecond - burstMs);
  await assertOneCopy(stage.lab, redis, stage.destination);
});

/** Counts on one connection, forever; ends at the first thing that is wrong. It connects once and never again. */
const COUNTING_CLIENT = `
import socket, sys, time
connection = socket.create_connection((sys.argv[1], 6379), timeout=30)
reader = connection.makefile("rb")
last = 0
while True:
    connection.sendall(b"INCR other\\r\\n")
    line = reader.readline()
    value = int(line[1:]) if line.startswith(b":") else -1
    if value != last + 1:
        sys.exit("wrong reply %r after %d" % (line, last))
    last = value
    time.sleep(0.005)
`;

test("another container that talks to it notices nothing", async () => {
  const { lab } = stage;
  const address = stage.address();
  const redis = await stage.startRedis({ node: stage.source, name: "talked-to", address });
  await lab.images(["debian-tools"], [stage.third]);
  const client = { node: stage.third, name: "talking", address: stage.address(), image: "debian-tools:latest" };
  await stage.start({ ...client, command: ["python3", "-c", COUNTING_CLIENT, address] });
  const reader = await LineConnection.open({ host: address, port: 6379 });
  const counted = async () => Number((await reader.ask("INCRBY other 0\r\n")).replace(":", ""));
  const countsTo = (goal: number) =>
    eventually(async () => ((await counted()) >= goal ? true : undefined), {
      what: `it has counted to ${goal}`,
      deadlineMs: 30_000,
    });
  await countsTo(REPLIES_BETWEEN);
  await migrate(lab, redis.name, stage.destination);
  await countsTo((await counted()) + REPLIES_BETWEEN);
  reader.close();
  expect(await lab.docker(stage.third, "inspect", "--format", "{{.State.Running}}", client.name)).toBe("true");
});
