/**
 * The two-phase restore between two real nodes: Redis on a macvlan network, a
 * client that holds one connection and counts.
 *
 * Needs two nodes with Docker, the runtime "drayage", a macvlan network "lan"
 * over their uplink, the image "redis:exp", and /opt/node, /opt/gate-driver.mjs:
 *
 *   TWO_PHASE_NODES   names of the nodes, "a,b"
 *   TWO_PHASE_EXEC    JSON array: how a command is run in "{node}"
 *   TWO_PHASE_COPY    JSON array: copies "{directory}" from "{from}" to "{to}"
 *   TWO_PHASE_CLIENT  JSON array: starts the counting client for "{address}"
 *   TWO_PHASE_ADDRESS an address of the network that is free
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ExecPrefix, NodeDriver } from "./testing/node-driver.ts";

const [SOURCE = "", DESTINATION = ""] = (process.env["TWO_PHASE_NODES"] ?? "").split(",");
const EXEC = JSON.parse(process.env["TWO_PHASE_EXEC"] ?? "[]") as ExecPrefix;
const COPY = JSON.parse(process.env["TWO_PHASE_COPY"] ?? "[]") as ExecPrefix;
const CLIENT = JSON.parse(process.env["TWO_PHASE_CLIENT"] ?? "[]") as ExecPrefix;
const ADDRESS = process.env["TWO_PHASE_ADDRESS"] ?? "10.99.0.10";
const PARENT = process.env["TWO_PHASE_PARENT"] ?? "host0";
const RUNTIME = process.env["TWO_PHASE_RUNTIME"] ?? "drayage";

describe.skipIf(SOURCE === "")("two-phase restore", () => {
  let source: NodeDriver;
  let destination: NodeDriver;
  let client: ChildProcess | undefined;
  let reports: AsyncIterator<string>;
  let sourceId = "";
  let copyId = "";
  let migrationId = "";
  /** A new one each time: switches remember where they saw the last. */
  let mac = "";
  let start: Promise<string>;

  beforeEach(async () => {
    migrationId = randomBytes(6).toString("hex");
    mac = `02:42:${migrationId.slice(0, 8).match(/../g)?.join(":")}`;
    source = new NodeDriver(SOURCE, EXEC);
    destination = new NodeDriver(DESTINATION, EXEC);
    source.start();
    destination.start();
    sourceId = await source.run("docker", "run", "-d", "--name", `redis-${migrationId}`, ...container());
    copyId = await destination.run("docker", "create", "--name", `redis-${migrationId}`, ...container());
    client = spawnWords(CLIENT, { address: ADDRESS });
    if (client.stdout === null) throw new Error("no stdout");
    reports = createInterface({ input: client.stdout })[Symbol.asyncIterator]();
    expect(await nextReport()).toEqual({ connected: true });
  });

  afterEach(async () => {
    client?.kill("SIGKILL");
    for (const [driver, id] of [
      [source, sourceId],
      [destination, copyId],
    ] as const) {
      // First: a held start holds Docker's lock on the container.
      await driver.order("abort", { dockerId: id, reason: "the test is over" });
      await driver.order("run", { argv: ["docker", "rm", "-f", id], deadlineMs: 60_000 });
      await driver.order("disarm", { dockerId: id });
      await driver.order("unblock", { migrationId });
      await driver.order("run", { argv: ["rm", "-rf", directory(), `${directory()}-work`], deadlineMs: 60_000 });
      await driver.kill();
    }
  });

  const directory = () => `/run/drayage/images/${migrationId}`;
  const images = () => ({ imageDirectory: directory(), workDirectory: `${directory()}-work` });
  const ofSource = () => ({ dockerId: sourceId, migrationId, parent: PARENT, mac });
  const ofCopy = () => ({ dockerId: copyId, migrationId, parent: PARENT, mac, ipv4: ADDRESS });

  function container(): string[] {
    const redis = ["redis:exp", "redis-server", "--save", "", "--protected-mode", "no"];
    return ["--network", "lan", "--ip", ADDRESS, "--mac-address", mac, "--runtime", RUNTIME, ...redis];
  }

  async function nextReport(): Promise<unknown> {
    const { value, done } = await reports.next();
    if (done) throw new Error("the client has ended");
    return JSON.parse(value as string);
  }

  async function clientReport() {
    client?.kill("SIGUSR1");
    return (await nextReport()) as { replies: number; last: number; longestGapMs: number; problems: string[] };
  }

  async function holdCreate(): Promise<void> {
    await destination.must("block", ofCopy());
    await destination.must("arm", ofCopy());
    start = destination.run("docker", "start", copyId);
    start.catch(() => {});
    await destination.must("held", ofCopy());
  }

  async function dump(): Promise<void> {
    await source.must("hold", ofSource());
    expect(await source.must("drain", ofSource())).toMatchObject({ drained: true });
    await source.must("drop", ofSource());
    await source.must("block", ofSource());
    await source.run("docker", "pause", sourceId);
    await source.must("dump", { ...ofSource(), ...images() });
    await run(spawnWords(COPY, { from: source.node, to: destination.node, directory: directory() }));
  }

  async function toPrepared(): Promise<void> {
    await holdCreate();
    await dump();
    await destination.must("release", { ...ofCopy(), ...images() });
    await destination.must("prepared", ofCopy());
  }

  async function commit(): Promise<void> {
    await destination.must("unblock", ofCopy());
    await destination.must("commit", ofCopy());
    const { initPid } = (await destination.must("kernel", ofCopy())) as { initPid: number };
    await destination.run("/usr/lib/drayage/drayage-announce", `/proc/${initPid}/ns/net`, "eth0", ADDRESS);
  }

  async function restart(driver: NodeDriver): Promise<void> {
    await driver.kill();
    driver.start();
    await driver.must("open");
  }

  /** The connection has lived, and goes on counting. */
  async function expectCounting(): Promise<void> {
    const before = await clientReport();
    // Its retransmission backs off: the longer the gap, the later the next attempt.
    await expect
      .poll(async () => (await clientReport()).replies, { timeout: 10_000, interval: 100 })
      .toBeGreaterThan(before.replies + 20);
    expect((await clientReport()).problems).toEqual([]);
  }

  async function reviveSource(): Promise<void> {
    await source.must("unblock", ofSource());
    await source.must("unlock", ofSource());
    await source.run("docker", "unpause", sourceId);
  }

  test("moves with its connection", async () => {
    await toPrepared();
    expect(await source.must("kernel", ofSource())).toMatchObject({ frozen: true });
    expect(await destination.must("kernel", ofCopy())).toMatchObject({ frozen: true });
    const whileFrozen = await clientReport();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect((await clientReport()).replies).toBe(whileFrozen.replies);
    await commit();
    await start;
    expect(await destination.must("kernel", ofCopy())).toMatchObject({ frozen: false });
    await expectCounting();
    expect(await destination.run("docker", "inspect", "-f", "{{.State.Running}}", copyId)).toBe("true");
    const rules = await destination.run(
      "sh",
      "-c",
      `nsenter -t $(docker inspect -f '{{.State.Pid}}' ${copyId}) -n nft list ruleset`,
    );
    expect(rules).not.toContain("drayage");
    // The record still stands: a second start would be one from consumed images.
    await destination.must("disarm", ofCopy());
  });

  test("moves there and back", async () => {
    await toPrepared();
    await commit();
    await start;
    await destination.must("disarm", ofCopy());
    await expectCounting();
    await source.run("docker", "rm", "-f", sourceId);
    await source.must("unblock", ofSource());

    [source, destination] = [destination, source];
    [sourceId, copyId] = [
      copyId,
      await destination.run("docker", "create", "--name", `back-${migrationId}`, ...container()),
    ];
    await run(spawnWords(EXEC, { node: source.node }, ["rm", "-rf", directory(), `${directory()}-work`]));
    await run(spawnWords(EXEC, { node: destination.node }, ["rm", "-rf", directory(), `${directory()}-work`]));
    await toPrepared();
    await commit();
    await start;
    await expectCounting();
  });

  test("a copy without verdict is neither entered nor dumped nor thawed", async () => {
    await toPrepared();
    const runc = ["/usr/lib/drayage/drayage-runc", "--root", "/run/docker/runtime-runc/moby"];
    for (const words of [
      ["exec", copyId, "true"],
      ["resume", copyId],
      ["pause", copyId],
      ["checkpoint", "--image-path", "/tmp/x", copyId],
    ]) {
      const { error } = await destination.order("run", { argv: [...runc, ...words], deadlineMs: 5000 });
      expect(error, words[0]).toContain("refused");
    }
    expect(await destination.run(...runc, "state", copyId)).toContain('"status": "paused"');
    expect(await destination.must("kernel", ofCopy())).toMatchObject({ frozen: true });
  });

  test("CRIU is killed in the restore", async () => {
    await holdCreate();
    await dump();
    await destination.must("release", { ...ofCopy(), ...images() });
    // However far it has come, nothing of it may run, and docker start must end.
    await destination.run("sh", "-c", "until pkill -KILL -x criu; do :; done");
    const outcome = await Promise.race([start.then(String, String), destination.order("prepared", ofCopy())]);
    if (typeof outcome !== "string") expect(outcome.error).toBeUndefined();
    await destination.must("abort", { ...ofCopy(), reason: "CRIU was killed" });
    await expect(start).rejects.toThrow();
    expect(await destination.must("kernel", ofCopy())).toBeNull();
    await reviveSource();
    await expectCounting();
  });

  test("aborted in the middle of the restore", async () => {
    await holdCreate();
    await dump();
    await destination.must("release", { ...ofCopy(), ...images() });
    await destination.must("abort", { ...ofCopy(), reason: "as the test wants" });
    await expect(start).rejects.toThrow();
    await reviveSource();
    await expectCounting();
  });

  test("aborted before the release", async () => {
    await holdCreate();
    await dump();
    await destination.must("abort", { ...ofCopy(), reason: "as the test wants" });
    await expect(start).rejects.toThrow("as the test wants");
    await reviveSource();
    await expectCounting();
    expect((await destination.order("run", { argv: ["docker", "start", copyId], deadlineMs: 20_000 })).error).toContain(
      "not started cold",
    );
  });

  test("aborted when prepared", async () => {
    await toPrepared();
    const { pids } = (await destination.must("kernel", ofCopy())) as { pids: number[] };
    await destination.must("abort", { ...ofCopy(), reason: "as the test wants" });
    await expect(start).rejects.toThrow("as the test wants");
    for (const pid of pids) {
      expect(
        (await destination.order("run", { argv: ["test", "-d", `/proc/${pid}`], deadlineMs: 5000 })).error,
      ).toBeDefined();
    }
    await reviveSource();
    await expectCounting();
  });

  test("the agent is killed while create is held", async () => {
    await holdCreate();
    await restart(destination);
    await dump();
    await destination.must("held", ofCopy());
    await destination.must("release", { ...ofCopy(), ...images() });
    await destination.must("prepared", ofCopy());
    await commit();
    await start.catch(() => {});
    await expectCounting();
  });

  test("the agent is killed right after the release", async () => {
    await holdCreate();
    await dump();
    await destination.must("release", { ...ofCopy(), ...images() });
    await restart(destination);
    await destination.must("prepared", ofCopy());
    await commit();
    await expectCounting();
  });

  test("the agent is killed when prepared, and the copy stays frozen without it", async () => {
    await toPrepared();
    await destination.kill();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    destination.start();
    expect(await destination.must("open")).toEqual([{ dockerId: copyId, state: "prepared" }]);
    expect(await destination.must("kernel", ofCopy())).toMatchObject({ frozen: true });
    await destination.must("prepared", ofCopy());
    await commit();
    await expectCounting();
    await restart(destination);
    await commit();
    await expectCounting();
    await destination.must("disarm", ofCopy());
  });

  test("the agent is killed when prepared, then aborts", async () => {
    await toPrepared();
    await restart(destination);
    await destination.must("abort", { ...ofCopy(), reason: "as the test wants" });
    await reviveSource();
    await expectCounting();
  });

  test("the agent is killed in the middle of a dump", async () => {
    await source.must("drop", ofSource());
    await source.run("docker", "pause", sourceId);
    const dumping = source.order("dump", { ...ofSource(), ...images() });
    dumping.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 100));
    await restart(source);
    await source.order("run", { argv: ["systemctl", "stop", `drayage-dump-${migrationId}`], deadlineMs: 20_000 });
    await reviveSource();
    await expectCounting();
  });
});

function spawnWords(
  words: ExecPrefix,
  values: Readonly<Record<string, string>>,
  more: readonly string[] = [],
): ChildProcess {
  const [program = "", ...args] = [...words, ...more].map((word) =>
    word.replace(/\{(\w+)\}/g, (_, name: string) => values[name] ?? ""),
  );
  return spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
}

function run(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("close", (code) => (code === 0 ? resolve() : reject(new Error(`copying ended with ${code}`))));
  });
}
