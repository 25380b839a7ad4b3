/**
 * An agent for tests of the coordinator: real gRPC, real mTLS, real ownership
 * transactions, but the container is two variables. It follows the agent's
 * part of the rules, and `World` notes every breach of "at most one".
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { changeOwner, readOwner } from "@drayage/shared/etcd/change-owner.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import type { Lease } from "@drayage/shared/etcd/guarded-lease.ts";
import {
  type AbortResponse,
  MigrationServiceService,
  type Order,
  type PrepareRequest,
  type PrepareResponse,
  type SwitchRequest,
  type SwitchResponse,
  type SyncRequest,
  type SyncResponse,
} from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { Finding } from "@drayage/shared/gen/drayage/common/v1/finding.ts";
import type { PhaseTime, Progress } from "@drayage/shared/gen/drayage/common/v1/progress.ts";
import type { Identity } from "@drayage/shared/identity/identity.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import { createRegistry } from "@drayage/shared/observe/metrics.ts";
import { createRpcServer, type RpcServer, type RpcService, service } from "@drayage/shared/rpc/server.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { abort, confirmRunning, type OwnerRecord } from "@drayage/shared/state/owner.ts";
import { inventoryRecord, nodeRecord } from "./records.ts";

export const UUID = inventoryRecord().uuid;

export type CopyState = "none" | "running" | "frozen" | "prepared";

/** What really is: the state of the container on every node. */
export class World {
  readonly copies = new Map<string, CopyState>();
  /** Moments at which two copies ran, or none while the source should. */
  readonly breaches: string[] = [];
  /** Migrations whose images have reached the destination. */
  readonly sent = new Set<string>();
  readonly #waiting = new Set<() => void>();

  set(node: string, state: CopyState): void {
    this.copies.set(node, state);
    const running = this.running();
    if (running.length > 1) this.breaches.push(`running on ${running.join(" and ")}`);
    for (const wake of [...this.#waiting]) wake();
  }

  get(node: string): CopyState {
    return this.copies.get(node) ?? "none";
  }

  running(): string[] {
    return [...this.copies].filter(([, state]) => state === "running").map(([node]) => node);
  }

  async until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    while (!condition()) {
      signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#waiting.delete(wake);
          signal.removeEventListener("abort", wake);
          resolve();
        };
        this.#waiting.add(wake);
        signal.addEventListener("abort", wake, { once: true });
      });
    }
  }
}

export type OrderName = "reserve" | "sync" | "prepare" | "switch" | "activate" | "finish" | "abort";

export interface FakeAgentOptions {
  readonly node: string;
  readonly identity: Identity;
  readonly etcd: EtcdPort;
  readonly world: World;
  readonly logger: Logger;
  readonly runningContainers?: number;
}

export class FakeAgent {
  readonly node: string;
  /** Orders taken, in order. */
  readonly orders: OrderName[] = [];
  /** The last one taken. */
  syncRequest: SyncRequest | undefined;
  switchRequest: SwitchRequest | undefined;
  sourceFindings: Finding[] = [];
  destinationFindings: Finding[] = [];
  /** Of the ways from here to other nodes, by their names. */
  routeFindings: Record<string, Finding[]> = {};
  /** Nodes to which a way was asked for, one entry for each order. */
  readonly routesAsked: string[][] = [];
  /** Called before an order is carried out; may wait or throw. */
  onOrder: (name: OrderName, signal: AbortSignal) => Promise<void> = async () => undefined;
  /** Called when an activation is done and its answer is about to go. */
  onActivated: () => Promise<void> = async () => undefined;
  readonly #options: FakeAgentOptions;
  readonly #server: RpcServer;
  #lease: Lease | undefined;
  #listsContainer = false;
  #stopped = false;
  #highestTerm = 0;
  #migration = { id: "", epoch: 0, lockedAtMs: 0, thawedAtMs: 0 };

  constructor(options: FakeAgentOptions) {
    this.#options = options;
    this.node = options.node;
    const { identity, node, logger } = options;
    this.#server = createRpcServer({
      identity,
      node,
      logger,
      registry: createRegistry("agent"),
      services: [this.#service()],
    });
  }

  /** Serves and registers. */
  async start(): Promise<void> {
    const port = await this.#server.bind("127.0.0.1:0");
    this.#listsContainer = this.#options.world.get(this.node) === "running";
    await this.#register(port);
  }

  /**
   * Registers on a new lease, and again whenever that is lost; with the container, if it ran here at the start: every
   * test begins with it here.
   */
  async #register(port: number): Promise<void> {
    const { etcd, node, runningContainers } = this.#options;
    this.#lease = await etcd.grantLease({ ttlSeconds: 5 });
    this.#lease.lost.addEventListener("abort", () => void this.#registerAgain(port), { once: true });
    const record = { ...nodeRecord(node), addresses: [`127.0.0.1:${port}`], runningContainers: runningContainers ?? 0 };
    await etcd.put(keys.node(node), JSON.stringify(record), { leaseId: this.#lease.id });
    if (this.#listsContainer) {
      const inventory = inventoryRecord({ node });
      await etcd.put(keys.inventory(node, inventory.dockerId), JSON.stringify(inventory), { leaseId: this.#lease.id });
    }
  }

  async #registerAgain(port: number): Promise<void> {
    while (!this.#stopped) {
      try {
        return await this.#register(port);
      } catch (thrown) {
        if (!(thrown instanceof DrayError)) throw thrown;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#lease?.revoke();
    await this.#server.shutdown(100);
  }

  async #take(name: OrderName, order: Order | undefined, signal: AbortSignal): Promise<void> {
    if (order === undefined) throw new DrayError("BAD_REQUEST", "an order without a head");
    if (order.term < this.#highestTerm)
      throw new DrayError("STALE_TERM", `term ${order.term} is older than ${this.#highestTerm}`);
    this.#highestTerm = order.term;
    if (this.#migration.id !== order.migrationId) {
      this.#migration = { id: order.migrationId, epoch: 0, lockedAtMs: 0, thawedAtMs: 0 };
    }
    this.orders.push(name);
    await this.onOrder(name, signal);
  }

  #service(): RpcService {
    const { etcd, node, world } = this.#options;
    return service(MigrationServiceService, {
      allowedRoles: ["coordinator"],
      handlers: {
        inspectSource: async (request) => ({
          description: {
            uuid: UUID,
            dockerId: request.dockerId,
            name: "redis",
            inspectJson: "{}",
            imageDigest: "sha256:0",
            imageDiffIds: [],
            imageTags: [],
            memoryBytes: 2 ** 20,
            layerBytes: 0,
            imageBytes: 0,
            tmpfsBytes: 0,
            networksJson: "[]",
            host: nodeRecord(node).host,
            cpuinfoImage: Buffer.alloc(0),
          },
          findings: this.sourceFindings,
        }),
        checkDestination: async () => ({ findings: this.destinationFindings, imagePresent: true }),
        checkPageRoutes: async ({ routes }) => {
          this.routesAsked.push(routes.map((route) => route.node));
          return {
            routes: routes.map((route) => ({ node: route.node, findings: this.routeFindings[route.node] ?? [] })),
          };
        },
        reserve: async (request, context) => {
          await this.#take("reserve", request.order, context.signal);
          return { transferToken: "token", pageAddresses: ["127.0.0.1:1"], imagePresent: true };
        },
        sync: (request, context) => this.#sync(request, context.signal),
        prepare: (request, context) => this.#prepare(request, context.signal),
        switch: (request, context) => this.#switch(request, context.signal),
        activate: async (request, context) => {
          await this.#take("activate", request.order, context.signal);
          const now = await this.#owner();
          if (now?.node !== node || now.epoch !== request.epoch)
            throw new DrayError("NOT_OWNER", `${now?.node} owns epoch ${now?.epoch}`);
          if (world.get(node) === "prepared") {
            world.set(node, "running");
            this.#migration.thawedAtMs = Date.now();
          }
          await changeOwner(etcd, UUID, (record) => confirmRunning(record, request.epoch, node), {
            deadlineMs: 10_000,
          });
          await this.onActivated();
          return { thawedAtMs: this.#migration.thawedAtMs, steps: [this.#time("thaw")], fetching: false };
        },
        fetch: () => {
          throw new DrayError("CANCELLED", "nothing is to be fetched");
        },
        finish: async (request, context) => {
          await this.#take("finish", request.order, context.signal);
          if (world.get(node) === "frozen") {
            const now = await this.#owner();
            if (now?.node === node || now?.state !== "running")
              throw new DrayError("NOT_OWNER", "nobody else runs it yet");
            world.set(node, "none");
          }
          return { warnings: [], thawedAtMs: this.#migration.thawedAtMs };
        },
        abort: async (request, context) => {
          await this.#take("abort", request.order, context.signal);
          return await this.#abort(request.order?.migrationId ?? "");
        },
        getStatus: async () => ({ role: "", state: "", error: "" }),
      },
    });
  }

  async *#sync(request: SyncRequest, signal: AbortSignal): AsyncGenerator<SyncResponse> {
    this.syncRequest = request;
    await this.#take("sync", request.order, signal);
    this.#migration.epoch = request.epoch;
    yield { progress: progress("layer"), result: undefined };
    yield {
      progress: undefined,
      result: { imageBytes: 10, layerBytes: 20, rounds: [], decisions: [], postCopy: false },
    };
  }

  async *#prepare(request: PrepareRequest, signal: AbortSignal): AsyncGenerator<PrepareResponse> {
    const { node, world } = this.#options;
    await this.#take("prepare", request.order, signal);
    const { id } = this.#migration;
    yield { progress: progress("held"), result: undefined };
    await world.until(() => world.sent.has(id), signal);
    if (world.get(node) === "none") world.set(node, "prepared");
    yield { progress: undefined, result: { dockerId: "b".repeat(64), steps: [this.#time("restore")] } };
  }

  async *#switch(request: SwitchRequest, signal: AbortSignal): AsyncGenerator<SwitchResponse> {
    this.switchRequest = request;
    const { node, world } = this.#options;
    const owner = await this.#owner();
    if (owner?.state === "running") world.breaches.push("switch was ordered before it was entered");
    if (world.get(node) === "running") {
      world.set(node, "frozen");
      this.#migration.lockedAtMs = Date.now();
    }
    await this.#take("switch", request.order, signal);
    if (this.#migration.lockedAtMs === 0) this.#migration.lockedAtMs = Date.now();
    world.sent.add(this.#migration.id);
    world.set(node, "frozen");
    const { lockedAtMs } = this.#migration;
    const rounds = [{ bytes: 4096, pages: 1, durationMs: 1, dirtyBytes: 4096, wireBytes: 5000, stillMs: 0 }];
    yield { progress: progress("dump"), result: undefined };
    yield {
      progress: undefined,
      result: { steps: [this.#time("dump")], rounds, memoryBytes: 4096, wireBytes: 5000, lockedAtMs },
    };
  }

  async #abort(migrationId: string): Promise<AbortResponse> {
    const { etcd, node, world } = this.#options;
    const before = await this.#owner();
    if (before === undefined) throw new DrayError("INTERNAL", "no owner");
    const isSource = world.get(node) === "running" || world.get(node) === "frozen";
    if (!isSource) {
      if (before.node === node) world.breaches.push("the destination was told to abort what it owns");
      world.set(node, "none");
      return { sourceRunning: false, epoch: 0, steps: [this.#time("restore")], frozenMs: 0 };
    }
    const { record } = await changeOwner(etcd, UUID, (now) => abort(now, now.epoch, node, migrationId), {
      deadlineMs: 10_000,
    });
    const mayRun = record?.node === node && record.state === "running";
    const frozenMs = world.get(node) === "frozen" ? 250 : 0;
    if (mayRun) world.set(node, "running");
    return { sourceRunning: mayRun, epoch: record?.epoch ?? 0, steps: [this.#time("revive")], frozenMs };
  }

  async #owner(): Promise<OwnerRecord | undefined> {
    return (await readOwner(this.#options.etcd, UUID, { deadlineMs: 10_000 }))?.record;
  }

  #time(name: string): PhaseTime {
    return { name, startedAtMs: Date.now(), durationMs: 1, node: this.node };
  }
}

function progress(step: string): Progress {
  return { step, doneBytes: 0, totalBytes: 0, message: "", round: undefined, decision: "" };
}
