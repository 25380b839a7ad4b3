/**
 * The two-phase restore between two nodes without their agents: gate-driver plays what the agents do, so that it can
 * be killed and told to abort in places where an agent would not stop.
 */
import { randomBytes } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Stage } from "../e2e/stage.ts";
import { NETWORK } from "../harness/containers.ts";
import { eventually } from "../harness/eventually.ts";
import { HeldConnection } from "../harness/held-connection.ts";
import { LineConnection } from "../harness/line-connection.ts";
import { copyBetween, receiving, sendingTo } from "../harness/node-stream.ts";
import { NodeDriver } from "./node-driver.ts";

/** The interface of a node that carries the macvlan network. */
const PARENT = "host0";
const RUNC_ROOT = "/run/docker/runtime-runc/moby";
const AGENTS_READY_MS = 60_000;
const MORE_REPLIES = 20;
const stage = new Stage("two-phase", ["redis"]);

describe("two-phase restore", () => {
  let source: NodeDriver;
  let destination: NodeDriver;
  let held: HeldConnection | undefined;
  let address = "";
  let sourceId = "";
  let copyId = "";
  let migrationId = "";
  /** A new one each time: switches remember where they saw the last. */
  let mac = "";
  let start: Promise<string>;

  beforeAll(async () => {
    const { lab } = stage;
    await lab.images(["redis"], [stage.destination]);
    await NodeDriver.install(lab, nodes());
    for (const node of nodes()) await lab.exec(node, ["systemctl", "stop", "drayage-agent"]);
  });

  afterAll(async () => {
    const { lab } = stage;
    await NodeDriver.uninstall(lab, nodes());
    for (const node of nodes()) await lab.exec(node, ["systemctl", "start", "drayage-agent"]);
    await eventually(
      async () => {
        const { document } = await lab.dray<readonly { state: string }[]>(["node", "ls"]);
        return document.every(({ state }) => state === "ready") ? true : undefined;
      },
      { what: "the agents are back", deadlineMs: AGENTS_READY_MS },
    );
  });

  beforeEach(async () => {
    migrationId = randomBytes(6).toString("hex");
    mac = `02:42:${migrationId.slice(0, 8).match(/../g)?.join(":")}`;
    address = stage.address();
    source = new NodeDriver(stage.lab, stage.source);
    destination = new NodeDriver(stage.lab, stage.destination);
    await source.start();
    await destination.start();
    sourceId = await source.run("docker", "run", "-d", "--name", `redis-${migrationId}`, ...container());
    copyId = await destination.run("docker", "create", "--name", `redis-${migrationId}`, ...container());
    const endpoint = { host: address, port: 6379 };
    (await eventually(() => LineConnection.open(endpoint), { what: "Redis listens", deadlineMs: 30_000 })).close();
    held = await HeldConnection.redis(endpoint);
    await expectCounting();
  });

  afterEach(async () => {
    // Not waited for: its last request may never be answered.
    held?.stop().catch(() => undefined);
    held = undefined;
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

  function client(): HeldConnection {
    if (held === undefined) throw new Error("no connection is held");
    return held;
  }

  const nodes = () => [stage.source, stage.destination];
  const directory = () => `/run/drayage/images/${migrationId}`;
  const images = () => ({ imageDirectory: directory(), workDirectory: `${directory()}-work` });
  const ofSource = () => ({ dockerId: sourceId, migrationId, parent: PARENT, mac });
  const ofCopy = () => ({ dockerId: copyId, migrationId, parent: PARENT, mac, network: NETWORK, ipv4: address });

  function container(): string[] {
    return [`--network=${NETWORK}`, `--ip=${address}`, `--mac-address=${mac}`, "--runtime=drayage", "redis:latest"];
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
    await copyImages();
  }

  async function copyImages(): Promise<void> {
    await copyBetween(stage.lab, {
      source: source.node,
      destination: destination.node,
      send: `tar -C ${directory()} -c . | ${sendingTo(stage.lab.nodeAddress(destination.node))}`,
      receive: `mkdir -p ${directory()}; ${receiving(`tar -C ${directory()} -x`)}`,
    });
  }

  async function restore(): Promise<void> {
    await destination.must("release", { ...ofCopy(), ...images() });
    await destination.must("images", ofCopy());
    await destination.must("pages", ofCopy());
  }

  /** CRIU has come to where it needs the memory, and has not gone on. */
  async function restoreWithoutPages(): Promise<void> {
    await destination.must("release", { ...ofCopy(), ...images() });
    await destination.must("images", ofCopy());
    await restoreStandsAt("post-setup-namespaces");
  }

  /** runc has come to where it needs CRIU, and CRIU has not begun: there are no images. */
  async function restoreWithoutImages(): Promise<void> {
    const descriptors = await source.run("jq", "-c", ".external_descriptors", `${RUNC_ROOT}/${sourceId}/state.json`);
    await destination.run("mkdir", "-p", directory());
    await destination.run("sh", "-c", 'printf %s "$1" >"$2"', "sh", descriptors, `${directory()}/descriptors.json`);
    await destination.must("release", { ...ofCopy(), ...images() });
    await destination.run("sh", "-c", `until [ -e /run/drayage/sessions/${copyId}/runc-ready ]; do :; done`);
    expect(await destination.run("ls", `${directory()}-work`)).toBe("");
  }

  async function restoreStandsAt(action: string): Promise<void> {
    const actions = `/run/drayage/sessions/${copyId}/actions`;
    await destination.run("sh", "-c", `until grep -q "$1" ${actions}; do :; done 2>/dev/null`, "sh", action);
    expect(await destination.run("tail", "-n", "1", actions)).toContain(action);
  }

  async function toPrepared(): Promise<void> {
    await holdCreate();
    await dump();
    await restore();
    await destination.must("prepared", ofCopy());
  }

  async function commit(): Promise<void> {
    await destination.must("unblock", ofCopy());
    await destination.must("commit", ofCopy());
    const { initPid } = (await destination.must("kernel", ofCopy())) as { initPid: number };
    await destination.run("/usr/lib/drayage/drayage-announce", `/proc/${initPid}/ns/net`, "eth0", address);
  }

  async function restart(driver: NodeDriver): Promise<void> {
    await driver.kill();
    await driver.start();
    await driver.must("open");
  }

  /** The connection has lived, and goes on counting. */
  async function expectCounting(): Promise<void> {
    await client().moreReplies(MORE_REPLIES);
    client().verdict();
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
    const { replies } = client();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(client().replies).toBe(replies);
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
    for (const driver of [source, destination]) await driver.run("rm", "-rf", directory(), `${directory()}-work`);
    await toPrepared();
    await commit();
    await start;
    await expectCounting();
  });

  test("a copy without verdict is neither entered nor dumped nor thawed", async () => {
    await toPrepared();
    const runc = ["/usr/lib/drayage/drayage-runc", "--root", RUNC_ROOT];
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
    // However far it has come, nothing of it may run, and docker start must end.
    const killed = destination.run("sh", "-c", "until pkill -KILL -x criu; do :; done");
    await restore();
    await killed;
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
    await restore();
    await destination.must("abort", { ...ofCopy(), reason: "as the test wants" });
    await expect(start).rejects.toThrow();
    await reviveSource();
    await expectCounting();
  });

  test("a restore waits for its pages, whatever becomes of the agent", async () => {
    await holdCreate();
    await dump();
    const pages = `${directory()}/pages-1.img`;
    await destination.run("mv", pages, `${pages}.later`);
    await restoreWithoutPages();
    await restart(destination);
    await destination.run("mv", `${pages}.later`, pages);
    await destination.must("pages", ofCopy());
    await destination.must("prepared", ofCopy());
    await commit();
    await expectCounting();
  });

  test("a restore waits for its images, whatever becomes of the agent", async () => {
    await holdCreate();
    await restoreWithoutImages();
    await restart(destination);
    await dump();
    await destination.must("images", ofCopy());
    await destination.must("pages", ofCopy());
    await destination.must("prepared", ofCopy());
    await commit();
    await expectCounting();
  });

  test("aborted while the restore waits for its images", async () => {
    await holdCreate();
    await restoreWithoutImages();
    await destination.must("abort", { ...ofCopy(), reason: "as the test wants" });
    await expect(start).rejects.toThrow();
    expect(await destination.must("kernel", ofCopy())).toBeNull();
    expect(await destination.run("findmnt", "-rn", "-o", "TARGET")).not.toContain(`${RUNC_ROOT}/${copyId}`);
    await expectCounting();
  });

  test("aborted while the restore waits for its pages", async () => {
    await holdCreate();
    await dump();
    await restoreWithoutPages();
    await destination.must("abort", { ...ofCopy(), reason: "as the test wants" });
    await expect(start).rejects.toThrow();
    expect(await destination.must("kernel", ofCopy())).toBeNull();
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
    await restore();
    await destination.must("prepared", ofCopy());
    await commit();
    await start.catch(() => {});
    await expectCounting();
  });

  test("the agent is killed right after the release", async () => {
    await holdCreate();
    await dump();
    await restore();
    await restart(destination);
    await destination.must("prepared", ofCopy());
    await commit();
    await expectCounting();
  });

  test("the agent is killed when prepared, and the copy stays frozen without it", async () => {
    await toPrepared();
    await destination.kill();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await destination.start();
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
    await source.run("sh", "-c", `until [ -s ${directory()}-work/dump.log ]; do :; done`);
    await restart(source);
    await source.order("run", { argv: ["systemctl", "stop", `drayage-dump-${migrationId}`], deadlineMs: 20_000 });
    await reviveSource();
    await expectCounting();
  });
});
