/**
 * The stage of all fault cases: one Redis that moves between the first two nodes, and one client that counts on one
 * TCP connection through everything. A case that breaks either gets a new one for the next, so that cases do not
 * depend on each other.
 */
import { randomBytes } from "node:crypto";
import type { MigrationRecord } from "@drayage/shared/state/migration.ts";
import { run } from "../../deploy/lab/src/host/run.ts";
import { addressIndex } from "../harness/address-ranges.ts";
import { removeContainer, startRedis, type StartedContainer } from "../harness/containers.ts";
import { eventually } from "../harness/eventually.ts";
import { HeldConnection } from "../../deploy/held-client/held-connection.ts";
import { assertNothingLeft, type Residue, residueOfAll } from "../harness/leftovers.ts";
import { assertOneCopy, containerDocument, dockerCopy, markedTasks } from "../harness/one-copy.ts";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { type DrayResult, TestLab } from "../harness/test-lab.ts";
import { ClusterState } from "./cluster-state.ts";
import { FaultPoints } from "./fault-points.ts";

export const NAME = "held";
/** Long enough for any failover, restart and etcd pause of a case. */
export const SETTLE_MS = 120_000;
const READY_MS = 60_000;
const REPLIES_AFTERWARDS = 20;

export interface Actors {
  readonly source: string;
  readonly destination: string;
  readonly other: string;
}

export class Stage {
  readonly lab: TestLab;
  readonly faults: FaultPoints;
  readonly state: ClusterState;
  readonly #before: Readonly<Record<string, Residue>>;
  readonly #linksBefore: ReadonlyMap<string, string>;
  /** Nodes whose power or link a case has cut. */
  readonly #disturbed = new Set<string>();
  #container: StartedContainer | undefined;
  #client: HeldConnection | undefined;
  #node = "";
  #uuid = "";

  private constructor(
    lab: TestLab,
    faults: FaultPoints,
    state: ClusterState,
    before: Readonly<Record<string, Residue>>,
    links: ReadonlyMap<string, string>,
  ) {
    this.lab = lab;
    this.faults = faults;
    this.state = state;
    this.#before = before;
    this.#linksBefore = links;
  }

  static async open(name: string): Promise<Stage> {
    const lab = await TestLab.open(name);
    await lab.images(["redis"], lab.nodes);
    await removeContainer(lab, NAME);
    const [faults, state, before, links] = await Promise.all([
      FaultPoints.open(lab),
      ClusterState.open(lab),
      residueOfAll(lab),
      linksOfAll(lab),
    ]);
    return new Stage(lab, faults, state, before, links);
  }

  async close(): Promise<void> {
    this.#client?.stop().catch(() => undefined);
    this.faults.close();
    this.state.close();
    await removeContainer(this.lab, NAME);
  }

  get client(): HeldConnection {
    if (this.#client === undefined) throw new Error("no case is set");
    return this.#client;
  }

  get container(): StartedContainer {
    if (this.#container === undefined) throw new Error("no case is set");
    return this.#container;
  }

  get uuid(): string {
    return this.#uuid;
  }

  /** The nodes whose power is on. */
  async nodesThatRun(): Promise<string[]> {
    const answers = await Promise.all(
      this.lab.nodes.map((node) => this.lab.tryExec(node, ["true"]).catch(() => undefined)),
    );
    return this.lab.nodes.filter((_, index) => answers[index]?.exitCode === 0);
  }

  /** A client of its own for what follows, in place of the last. */
  async connect(): Promise<void> {
    // Not waited for: its last request may never be answered.
    this.#client?.stop().catch(() => undefined);
    this.#client = await HeldConnection.open(
      { host: this.container.address, port: 6379 },
      { request: "INCR held\r\n", read: readInteger, everyMs: 2, replyDeadlineMs: SETTLE_MS },
    );
  }

  /** The same with a server that was just started, which takes a moment to listen. */
  async connectWhenUp(): Promise<void> {
    const attempt = async () =>
      await this.connect().then(
        () => true,
        () => undefined,
      );
    await eventually(attempt, { what: "the container takes connections", deadlineMs: SETTLE_MS, everyMs: 100 });
  }

  async cutPower(node: string): Promise<void> {
    this.#disturbed.add(node);
    await this.lab.control("kill", node);
  }

  async restorePower(node: string): Promise<void> {
    await this.lab.control("start", node);
  }

  async partition(node: string): Promise<void> {
    this.#disturbed.add(node);
    await this.lab.control("partition", node);
  }

  async heal(node: string): Promise<void> {
    await this.lab.control("heal", node);
  }

  /** Undoes what a case that failed has left. */
  async #repair(): Promise<void> {
    for (const node of this.#disturbed) {
      await this.restorePower(node);
      await this.heal(node);
    }
    this.#disturbed.clear();
  }

  /** Everything as a case expects it: all programs up, no faults, a Redis, a client. */
  async set(): Promise<Actors> {
    await this.#repair();
    await this.faults.clear();
    await this.lab.ready();
    if (!(await this.#isWhole())) await this.#renew();
    return this.#actors();
  }

  /** Orders a migration and returns its id as soon as it is accepted. */
  async begin(to: string, ...more: string[]): Promise<string> {
    const { exitCode, document, stderr } = await this.lab.dray<{ id: string } | null>([
      "migrate",
      NAME,
      "--to",
      to,
      "--detach",
      ...more,
    ]);
    if (exitCode !== 0 || document === null)
      throw new Error(`dray migrate ended with ${exitCode}: ${stderr.trim()} ${JSON.stringify(document)}`);
    return document.id;
  }

  /** Moves the container and stays with it to the end. */
  async migrate(to: string, ...more: string[]): Promise<DrayResult<MigrationDocument | null>> {
    return await this.lab.dray<MigrationDocument | null>(["migrate", NAME, "--to", to, ...more]);
  }

  /** Waits until the leader has closed the migration and the agents have nothing more to do for it. */
  async settled(id: string, nodes: readonly string[] = this.lab.nodes): Promise<MigrationRecord> {
    const record = await this.state.migrationWhen(id, ({ phase }) => phase === "done", "is done", SETTLE_MS);
    await this.state.ended(id, nodes, SETTLE_MS);
    return record;
  }

  /** One copy, on `node`; the connection alive; nothing left over; and it can be moved again. */
  async assertSound(node: string, options: { readonly onwards?: string } = {}): Promise<void> {
    this.#node = node;
    await assertOneCopy(this.lab, this.container, node, { settleMs: SETTLE_MS });
    await this.client.moreReplies(REPLIES_AFTERWARDS);
    this.client.verdict();
    await this.#assertClean();
    if (options.onwards !== undefined) await this.#moveOn(options.onwards);
  }

  /** Waits until all that there is of the container on that node is frozen; there has to be some. */
  async standsStill(node: string): Promise<void> {
    const standing = async () => {
      const tasks = await markedTasks(this.lab, node, this.container.mark);
      return tasks.length > 0 && tasks.every(({ frozen }) => frozen) ? true : undefined;
    };
    await eventually(standing, { what: `the container on ${node} stands still`, deadlineMs: SETTLE_MS });
  }

  /** The container has stopped: it is on `node`, which owns it, and nothing of it is anywhere else. */
  async assertStopped(node: string): Promise<void> {
    for (const each of this.lab.nodes) {
      const tasks = await markedTasks(this.lab, each, this.container.mark);
      if (tasks.length > 0) throw new Error(`${each} has processes of it: ${JSON.stringify(tasks)}`);
      const copy = await dockerCopy(this.lab, each, NAME);
      if (each === node ? copy === undefined || copy.running : copy !== undefined)
        throw new Error(`Docker on ${each} has of it: ${JSON.stringify(copy)}`);
    }
    const owner = await this.state.owner(this.uuid);
    if (owner?.node !== node || owner.state !== "running") throw new Error(`its owner is ${JSON.stringify(owner)}`);
    const holder = await this.state.under(this.uuid);
    if (holder !== undefined) throw new Error(`migration ${holder} still has it`);
    await this.#assertClean();
  }

  /** That it can be moved again; the next case begins with what this leaves. */
  async #moveOn(to: string): Promise<void> {
    // As an operator would look first: a node whose link or power was cut takes a moment to be back.
    await this.lab.ready();
    const id = await this.begin(to);
    const record = await this.settled(id);
    if (record.outcome !== "completed")
      throw new Error(`the following migration: ${JSON.stringify(record.error)} ${record.reason}`);
    this.#node = to;
    await this.client.moreReplies(REPLIES_AFTERWARDS);
    this.client.verdict();
  }

  async #assertClean(): Promise<void> {
    await assertNothingLeft(this.lab, this.#before, [NAME], SETTLE_MS);
    for (const [node, links] of await linksOfAll(this.lab)) {
      if (links !== this.#linksBefore.get(node))
        throw new Error(`${node} has the links ${links}, and had ${this.#linksBefore.get(node)}`);
    }
    await Promise.all(this.lab.nodes.map((node) => this.#assertIdentities(node)));
  }

  /** An identity is kept for containers that Docker has, and for no others. */
  async #assertIdentities(node: string): Promise<void> {
    const listing = await this.lab.shell(
      node,
      "ls /var/lib/drayage/identities; echo --; docker ps --all --no-trunc --quiet",
    );
    const [files = "", containers = ""] = listing.split("--");
    const strangers = files
      .split("\n")
      .filter((file) => file !== "" && !containers.includes(file.replace(/\..*$/, "")));
    if (strangers.length > 0)
      throw new Error(`${node} keeps identities of containers that are gone: ${strangers.join(", ")}`);
  }

  async #isWhole(): Promise<boolean> {
    if (this.#client === undefined || this.#client.failure !== undefined) return false;
    try {
      await this.#client.moreReplies(1, 2000);
      const document = await containerDocument(this.lab, NAME);
      this.#node = document.node;
      return document.state === "running" && document.migration_id === "";
    } catch {
      return false;
    }
  }

  async #renew(): Promise<void> {
    await removeContainer(this.lab, NAME);
    await eventually(
      async () => ((await containerDocument(this.lab, NAME).catch(() => undefined)) === undefined ? true : undefined),
      {
        what: "the inventory forgets the last container",
        deadlineMs: READY_MS,
        everyMs: 200,
      },
    );
    const [first = ""] = this.lab.nodes;
    const address = this.lab.freeAddress(addressIndex("faults", 0));
    // A Redis that sets its title overwrites the environment by which its processes are found.
    const command = ["redis-server", "--protected-mode", "no", "--save", "", "--set-proc-title", "no"];
    // Neither bridges nor this host may look for it where its predecessor was.
    await run(["ip", "neigh", "flush", "to", address]);
    const macAddress = `02:64:72:${randomBytes(3).toString("hex").replace(/..\B/g, "$&:")}`;
    const options = { node: first, name: NAME, address, macAddress, megabytes: 8, command };
    this.#container = await startRedis(this.lab, options);
    await this.connect();
    this.#node = first;
    const document = await eventually(() => containerDocument(this.lab, NAME), {
      what: "the inventory knows the container",
      deadlineMs: READY_MS,
      everyMs: 200,
    });
    this.#uuid = document.uuid;
  }

  #actors(): Actors {
    const [first = "", second = "", third = ""] = this.lab.nodes;
    const destination = this.#node === first ? second : first;
    return { source: this.#node, destination, other: third === this.#node ? second : third };
  }
}

function readInteger(reply: string): number | undefined {
  return /^:\d+$/.test(reply) ? Number(reply.slice(1)) : undefined;
}

/** Names of a node's network interfaces; containers have theirs in namespaces of their own. */
async function linksOfAll(lab: TestLab): Promise<Map<string, string>> {
  const names = async (node: string) => {
    const listing = await lab.exec(node, ["ip", "-json", "link", "show"]);
    return (JSON.parse(listing) as { ifname: string }[])
      .map(({ ifname }) => ifname)
      .sort()
      .join(" ");
  };
  return new Map(await Promise.all(lab.nodes.map(async (node) => [node, await names(node)] as const)));
}
