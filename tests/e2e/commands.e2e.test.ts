/** What `dray` says of a cluster: its listings around three migrations, one out of time, one interrupted, one done. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import type { ContainerDocument, EventDocument, NodeDocument } from "../../cli/src/documents/cluster-documents.ts";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { runRaw } from "../../deploy/lab/src/host/run.ts";
import { knownToCluster } from "../harness/containers.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { TestLab } from "../harness/test-lab.ts";
import { LAB_NAME, Stage } from "./stage.ts";

const stage = new Stage("commands", ["redis"]);
const NAME = "listed";
/** Half of its data is noise: at this rate nobody sees the end of it. */
const SLOW = ["--mode", "pre-copy", "--bandwidth", "500K"];

/** What it prints with --json; throws unless the exit code is 0. */
async function said<T>(...args: string[]): Promise<T> {
  const { exitCode, document, stderr } = await stage.lab.dray<T>(args);
  if (exitCode !== 0)
    throw new Error(`dray ${args.join(" ")} ended with ${exitCode}: ${stderr} ${JSON.stringify(document)}`);
  return document;
}

/** The documents that it prints with --json, a line each, as far as they are about the container. */
async function saidInLines<T extends { readonly container: string }>(...args: string[]): Promise<T[]> {
  const { exitCode, stdout } = await runRaw([stage.lab.drayPath, ...args, "--json"], { env: stage.lab.environment });
  expect(exitCode).toBe(0);
  const documents = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as T);
  return documents.filter(({ container }) => container === NAME);
}

interface Interrupted {
  readonly exitCode: number;
  readonly lines: readonly string[];
}

/** Runs it, and presses Ctrl-C when a line of stdout or stderr has that in it, and `first` is done. */
async function interruptedAt(pattern: RegExp, args: readonly string[], first = async () => {}): Promise<Interrupted> {
  const child = spawn(stage.lab.drayPath, args, {
    env: stage.lab.environment,
    stdio: ["ignore", "pipe", "pipe"],
    // Only ends what hangs.
    timeout: 240_000,
    killSignal: "SIGKILL",
  });
  const ended = once(child, "close") as Promise<[number]>;
  const reached = Promise.withResolvers<void>();
  const lines: string[] = [];
  for (const input of [child.stdout, child.stderr]) {
    createInterface(input).on("line", (line) => {
      lines.push(line);
      if (pattern.test(line)) reached.resolve();
    });
  }
  await Promise.race([reached.promise, ended]);
  await first();
  child.kill("SIGINT");
  const [exitCode] = await ended;
  return { exitCode, lines };
}

// Once: nothing of it depends on what the nodes run.
const { suite } = await TestLab.open(LAB_NAME);

test.runIf(suite === "forky")(
  "listings, events, --timeout and Ctrl-C tell of what is there and what happens",
  async () => {
    const { lab, source, destination } = stage;
    const address = stage.address();
    const redis = await stage.startRedis({ node: source, name: NAME, address, megabytes: 20 });
    await knownToCluster(lab, NAME);

    const [versions, containers, elsewhere, node] = await Promise.all([
      said<{ client: { version: string }; server: { version: string; name: string; leader: string } }>("version"),
      said<ContainerDocument[]>("container", "ls", "--node", source),
      said<ContainerDocument[]>("container", "ls", "--node", destination),
      said<NodeDocument>("node", "inspect", source),
    ]);
    expect(versions.server.version).toBe(versions.client.version);
    expect(lab.nodes).toContain(versions.server.name);
    expect(lab.nodes).toContain(versions.server.leader);
    expect(containers.filter(({ name }) => name === NAME)).toMatchObject([
      {
        ...{ node: source, docker_id: redis.dockerId, image: "redis:latest", state: "running", runtime: "runc" },
        ...{ addresses: { dray: address }, migration_id: "" },
      },
    ]);
    expect(elsewhere.map(({ name }) => name)).not.toContain(NAME);
    expect(node).toMatchObject({ name: source, state: "ready", problems: [], last_seen: "" });
    expect(node.addresses.join(" ")).toContain(lab.nodeAddress(source));
    expect(node.running_containers).toBe(containers.length);
    expect(node.host?.drayage_version).toBe(versions.client.version);
    expect(node.host?.kernel).toBe(await lab.exec(source, ["uname", "-r"]));

    const late = await lab.dray<MigrationDocument>(["migrate", NAME, "--to", destination, ...SLOW, "--timeout", "3s"]);
    const outOfTime = { outcome: "rolled_back", error: { reason: "TIMEOUT" } };
    expect(late).toMatchObject({ exitCode: 124, document: outOfTime });
    let active: MigrationDocument[] = [];
    const interrupted = await interruptedAt(/sync/, ["migrate", NAME, "--to", destination, ...SLOW], async () => {
      active = await said("migration", "ls", "--active");
    });
    expect(active).toMatchObject([{ container: NAME, source, destination, mode: "pre-copy", outcome: null }]);
    expect(interrupted.exitCode).toBe(130);
    expect(interrupted.lines.join("\n")).toMatch(/^cancelling/m);
    await assertOneCopy(lab, redis, source);

    const { id } = await said<MigrationDocument>("migrate", NAME, "--to", destination, "--detach");
    const [changes, followed] = await Promise.all([
      saidInLines<MigrationDocument>("migration", "watch", id),
      interruptedAt(new RegExp(`migration\\.(completed|rolled-back|failed).*${id}`), ["events", "--follow", "--json"]),
    ]);
    expect(new Set(changes.map((change) => change.id))).toEqual(new Set([id]));
    expect(changes.at(-1)).toMatchObject({ phase: "done", outcome: "completed" });
    await assertOneCopy(lab, redis, destination);

    const [lastThree, events] = await Promise.all([
      said<MigrationDocument[]>("migration", "ls", "--limit", "3"),
      saidInLines<EventDocument>("events"),
    ]);
    expect(lastThree.map((each) => [each.id, each.outcome, each.error?.reason])).toEqual([
      [id, "completed", undefined],
      [active[0]?.id, "rolled_back", "CANCELLED"],
      [late.document.id, "rolled_back", "TIMEOUT"],
    ]);
    const ofTheLast = events.filter(({ migration_id: migration }) => migration === id);
    expect(ofTheLast.map(({ type, node: on }) => [type, on])).toEqual([
      ["migration.started", source],
      ...["reserve", "sync", "switch", "commit", "activate", "finish"].map(() => ["migration.phase", ""]),
      ["migration.completed", destination],
    ]);
    expect(followed.exitCode).toBe(130);
    expect(followed.lines.map((line) => JSON.parse(line) as EventDocument)).toEqual(expect.arrayContaining(ofTheLast));
  },
);
