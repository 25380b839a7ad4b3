/** A cluster for tests: real etcd, agents of World, coordinators as processes or in this one. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import { readRecord } from "@drayage/shared/etcd/records.ts";
import { EtcdProcess, freePorts } from "@drayage/shared/etcd/test-support/etcd-process.ts";
import { ClusterServiceClient } from "@drayage/shared/gen/drayage/coordinator/v1/cluster.ts";
import {
  type Migration,
  MigrationServiceClient,
  StartMigrationRequest,
} from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { issueIdentity } from "@drayage/shared/identity/authority.ts";
import type { Identity } from "@drayage/shared/identity/identity.ts";
import { createLogger } from "@drayage/shared/observe/logger.ts";
import { type Connection, connect, serverStream, unary } from "@drayage/shared/rpc/client.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { OwnerRecord } from "@drayage/shared/state/owner.ts";
import { type Coordinator, startCoordinator } from "../coordinator.ts";
import { inOrder } from "../election/candidate.ts";
import type { SagaTimes } from "../saga/context.ts";
import { FakeAgent, UUID, World } from "./fake-agent.ts";

const MAIN = fileURLToPath(new URL("../main.ts", import.meta.url));
/** A leader that dies is followed soon. */
const SHORT_LEASE_S = 2;
/** No stall of a busy machine ends a term; for tests in which no leader dies. */
export const LONG_LEASE_S = 15;

export interface CoordinatorProcess {
  readonly name: string;
  readonly port: number;
  readonly child: ChildProcess;
  readonly exited: Promise<unknown>;
  /** The lines of its file of faults. */
  faults(lines: readonly string[]): Promise<void>;
}

export class TestCluster {
  readonly etcd: EtcdProcess;
  readonly client: EtcdPort;
  readonly world = new World();
  readonly agents = new Map<string, FakeAgent>();
  readonly #operator: Identity;
  readonly #directory: string;
  readonly #leaseTtlSeconds: number;
  readonly #processes = new Set<CoordinatorProcess>();
  readonly #connections = new Set<Connection>();

  private constructor(etcd: EtcdProcess, operator: Identity, directory: string, leaseTtlSeconds: number) {
    this.#leaseTtlSeconds = leaseTtlSeconds;
    this.etcd = etcd;
    this.client = etcd.open();
    this.#operator = operator;
    this.#directory = directory;
  }

  static async start(nodes: readonly string[], leaseTtlSeconds = SHORT_LEASE_S): Promise<TestCluster> {
    const etcd = await EtcdProcess.start();
    const operator = await issueIdentity(etcd.authority, { role: "operator", name: "op" });
    const directory = await mkdtemp(join(tmpdir(), "drayage-cluster-"));
    const cluster = new TestCluster(etcd, operator, directory, leaseTtlSeconds);
    cluster.world.set("n1", "running");
    for (const node of nodes) {
      const identity = await issueIdentity(etcd.authority, { role: "agent", name: node });
      const logger = createLogger({ level: "silent", part: "agent", node });
      const agent = new FakeAgent({ node, identity, etcd: cluster.client, world: cluster.world, logger });
      cluster.agents.set(node, agent);
      await agent.start();
    }
    return cluster;
  }

  agent(node: string): FakeAgent {
    const agent = this.agents.get(node);
    if (agent === undefined) throw new Error(`no agent ${node}`);
    return agent;
  }

  /** A coordinator in a process of its own, compiled with faults. */
  async spawnCoordinator(name: string, options: { readonly signs?: boolean } = {}): Promise<CoordinatorProcess> {
    const directory = join(this.#directory, `${name}-${Date.now()}`);
    const pki = join(directory, "pki");
    await mkdir(pki, { recursive: true });
    const identity = await issueIdentity(this.etcd.authority, { role: "coordinator", name });
    await writeFile(join(pki, "ca.crt"), identity.caPem);
    await writeFile(join(pki, "coordinator.crt"), identity.certPem);
    await writeFile(join(pki, "coordinator.key"), identity.keyPem, { mode: 0o600 });
    if (options.signs === true) await writeFile(join(pki, "ca.key"), this.etcd.authority.caKeyPem, { mode: 0o600 });
    const [port = 0] = await freePorts(1);
    const config = {
      name,
      listen: `127.0.0.1:${port}`,
      advertiseAddresses: ["127.0.0.1"],
      metricsListen: "127.0.0.1:0",
      etcdEndpoints: [this.etcd.endpoint],
      pkiDirectory: pki,
      leaseTtlSeconds: this.#leaseTtlSeconds,
      logLevel: process.env["TEST_LOG_LEVEL"] ?? "error",
    };
    const file = join(directory, "coordinator.yaml");
    const faultsFile = join(directory, "faults");
    await writeFile(file, JSON.stringify(config));
    const preload = "data:text/javascript,globalThis.__FAULTS__=true";
    const child = spawn(process.execPath, ["--import", preload, MAIN, "--config", file], {
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, DRAYAGE_FAULTS_FILE: faultsFile },
    });
    const coordinator: CoordinatorProcess = {
      name,
      port,
      child,
      exited: once(child, "exit"),
      faults: (lines) => writeFile(faultsFile, lines.join("\n")),
    };
    this.#processes.add(coordinator);
    await this.connect([coordinator]);
    return coordinator;
  }

  /** A coordinator in this process, with waiting times of the test's choice. */
  async startCoordinator(name: string, times: SagaTimes): Promise<Coordinator> {
    const coordinator = await startCoordinator({
      config: {
        name,
        listen: "127.0.0.1:0",
        advertiseAddresses: ["127.0.0.1"],
        metricsListen: "127.0.0.1:0",
        etcdEndpoints: [this.etcd.endpoint],
        pkiDirectory: "/nonexistent",
        leaseTtlSeconds: this.#leaseTtlSeconds,
        logLevel: "silent",
      },
      identity: await issueIdentity(this.etcd.authority, { role: "coordinator", name }),
      authority: null,
      logger: createLogger({ level: "silent", part: "coordinator", node: name }),
      times,
    });
    await this.untilLeader(name);
    return coordinator;
  }

  async connect(coordinators: readonly Pick<CoordinatorProcess, "port">[]): Promise<Connection> {
    const addresses = coordinators.map(({ port }) => `127.0.0.1:${port}`);
    const endsAt = Date.now() + 20_000;
    for (;;) {
      try {
        const connection = await connect({ identity: this.#operator, addresses, expected: { role: "coordinator" } });
        this.#connections.add(connection);
        return connection;
      } catch (thrown) {
        if (Date.now() > endsAt) throw thrown;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  async leaderName(): Promise<string | undefined> {
    return inOrder((await this.client.getPrefix(keys.election())).entries)[0]?.name;
  }

  async untilLeader(name: string): Promise<void> {
    while ((await this.leaderName()) !== name) await new Promise((resolve) => setTimeout(resolve, 50));
  }

  async owner(): Promise<OwnerRecord | undefined> {
    return (await readRecord(this.client, OwnerRecord, keys.owner(UUID)))?.record;
  }

  /** Back to the container running on n1, for the next test; nothing else may be under way. */
  async reset(): Promise<void> {
    for (const node of this.agents.keys()) {
      this.world.copies.set(node, node === "n1" ? "running" : "none");
      const agent = this.agent(node);
      agent.orders.length = 0;
      agent.onOrder = async () => undefined;
      agent.onActivated = async () => undefined;
      agent.sourceFindings = [];
      agent.destinationFindings = [];
      agent.routeFindings = {};
      agent.routesAsked.length = 0;
    }
    this.world.breaches.length = 0;
    await this.client.delete(keys.owner(UUID));
  }

  async stop(): Promise<void> {
    for (const connection of this.#connections) connection.close();
    for (const { child, exited } of this.#processes) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await exited;
    }
    await Promise.all([...this.agents.values()].map((agent) => agent.stop()));
    this.client.close();
    await this.etcd.stop();
    await rm(this.#directory, { recursive: true });
  }
}

export function startMigration(
  connection: Connection,
  change: Partial<StartMigrationRequest> = {},
): Promise<Migration> {
  const client = connection.client(MigrationServiceClient);
  const request = StartMigrationRequest.fromPartial({
    container: "redis",
    to: "n2",
    requestId: crypto.randomUUID(),
    ...change,
  });
  return unary(client, client.startMigration, request, { deadlineMs: 30_000 }).then(({ migration }) =>
    present(migration),
  );
}

/** Every state that the stream shows, to the end. */
export async function watchMigration(connection: Connection, id: string, deadlineMs = 60_000): Promise<Migration[]> {
  const client = connection.client(MigrationServiceClient);
  const states: Migration[] = [];
  for await (const { migration } of serverStream(client, client.watchMigration, { id }, { deadlineMs }))
    states.push(present(migration));
  return states;
}

export async function getMigration(connection: Connection, id: string): Promise<Migration> {
  const client = connection.client(MigrationServiceClient);
  return present((await unary(client, client.getMigration, { id }, { deadlineMs: 30_000 })).migration);
}

export async function cancelMigration(
  connection: Connection,
  id: string,
  allowProgressLoss = false,
): Promise<Migration> {
  const client = connection.client(MigrationServiceClient);
  return present(
    (await unary(client, client.cancelMigration, { id, allowProgressLoss }, { deadlineMs: 30_000 })).migration,
  );
}

export function clusterClient(connection: Connection): ClusterServiceClient {
  return connection.client(ClusterServiceClient);
}

function present(migration: Migration | undefined): Migration {
  if (migration === undefined) throw new Error("an answer without a migration");
  return migration;
}
