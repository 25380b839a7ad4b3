/**
 * Keeps this node and its containers visible in etcd for as long as the agent
 * lives: everything hangs on one lease, so a dead node's records go with it.
 *
 * A lost lease is replaced by a new one and everything is published again; the
 * containers are not touched by it (invariant 9).
 */
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import type { Lease } from "@drayage/shared/etcd/guarded-lease.ts";
import { encodeRecord } from "@drayage/shared/etcd/records.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { InventoryRecord, NodeRecord } from "@drayage/shared/state/node.ts";
import type { AgentHost } from "../migration/agent-host.ts";
import { pause } from "../migration/ownership.ts";
import { inventoryChanges, inventoryRecord } from "./inventory.ts";

const RETRY_MS = 1_000;
/** How often memory and problems are looked at again. */
const REFRESH_MS = 10_000;

/** Docker's events that change what the inventory shows; health checks alone make many others. */
const FOLLOWED_EVENTS = [
  ...["create", "start", "die", "destroy", "pause", "unpause", "rename", "update"],
  ...["connect", "disconnect"],
] as const;

export interface Registration {
  /** False while the node is not visible to the cluster. */
  readonly registered: boolean;
  /** Resolves when the node has become visible for the first time. */
  readonly first: Promise<void>;
  /** Takes the node out of the cluster and ends. */
  stop(): Promise<void>;
}

export function startRegistration(host: AgentHost, etcd: EtcdPort, apiAddresses: readonly string[]): Registration {
  const stopped = new AbortController();
  const signal = AbortSignal.any([host.stopping, stopped.signal]);
  let resolveFirst: () => void = () => undefined;
  const state = {
    registered: false,
    first: new Promise<void>((resolve) => {
      resolveFirst = resolve;
    }),
  };

  const loop = (async () => {
    while (!signal.aborted) {
      try {
        const lease = await etcd.grantLease({ ttlSeconds: host.config.leaseTtlSeconds, signal });
        try {
          const onRegistered = () => {
            state.registered = true;
            resolveFirst();
          };
          await publish(host, etcd, apiAddresses, lease, AbortSignal.any([signal, lease.lost]), onRegistered);
        } finally {
          state.registered = false;
          await lease.revoke();
        }
      } catch (thrown) {
        if (signal.aborted) break;
        host.logger.warn({ err: toDrayError(thrown) }, "not registered with the cluster, trying again");
        await pause(RETRY_MS, signal).catch(() => undefined);
      }
    }
  })();

  return {
    get registered() {
      return state.registered;
    },
    first: state.first,
    async stop() {
      stopped.abort();
      await loop;
    },
  };
}

/** Publishes node and inventory under one lease until the signal fires; always throws. */
async function publish(
  host: AgentHost,
  etcd: EtcdPort,
  apiAddresses: readonly string[],
  lease: Lease,
  signal: AbortSignal,
  onRegistered: () => void,
): Promise<never> {
  const registeredAtMs = Date.now();
  const published = new Map<string, string>();
  const runtimes = new Map<string, string>();

  const publishInventory = async (): Promise<number> => {
    // Read before the list: whatever is new in the list has its identity from now on.
    const known = await host.identities.all();
    const containers = await host.docker.listContainers({ signal });
    const present = new Set(containers.map(({ Id }) => Id));
    for (const dockerId of known.keys()) if (!present.has(dockerId)) await host.identities.forget(dockerId);
    const records = await Promise.all(
      containers.map(async (summary) => {
        const uuid = await host.identities.identityOf(summary.Id);
        return inventoryRecord(host.node, uuid, summary, await runtimeOf(host, runtimes, summary.Id, signal));
      }),
    );
    const changes = inventoryChanges(published, records);
    for (const record of changes.put) {
      const value = encodeRecord(InventoryRecord, record);
      await etcd.put(keys.inventory(host.node, record.dockerId), value, { leaseId: lease.id, signal });
      published.set(record.dockerId, JSON.stringify(record));
    }
    for (const dockerId of changes.remove) {
      await etcd.delete(keys.inventory(host.node, dockerId), { signal });
      published.delete(dockerId);
      runtimes.delete(dockerId);
    }
    return records.filter(({ state }) => state === "running").length;
  };

  let lastNode = "";
  const observeAndPublish = async (): Promise<void> => {
    const { record, problems } = await observeNode(host, apiAddresses, registeredAtMs, publishInventory, signal);
    const value = encodeRecord(NodeRecord, record);
    if (value !== lastNode) await etcd.put(keys.node(host.node), value, { leaseId: lease.id, signal });
    if (lastNode === "") host.logger.info({ problems }, "registered with the cluster");
    lastNode = value;
  };

  // One after the other; those that come meanwhile are served by one more.
  let running: Promise<void> | undefined;
  let waiting: Promise<void> | undefined;
  const publishNode = (): Promise<void> => {
    if (running === undefined) {
      running = observeAndPublish().finally(() => {
        running = undefined;
      });
      return running;
    }
    waiting ??= running
      .catch(() => undefined)
      .then(() => {
        waiting = undefined;
        return publishNode();
      });
    return waiting;
  };

  await publishNode();
  onRegistered();
  const refreshing = (async () => {
    for (;;) {
      await pause(REFRESH_MS, signal);
      await publishNode();
    }
  })();
  const following = (async () => {
    for await (const _ of host.docker.events({ type: ["container", "network"], event: [...FOLLOWED_EVENTS] }, signal)) {
      await publishNode();
    }
    throw signal.reason;
  })();
  return Promise.race([refreshing, following]);
}

/** The node's record; what is wrong with Docker or CRIU is in it instead of being an error. */
async function observeNode(
  host: AgentHost,
  apiAddresses: readonly string[],
  registeredAtMs: number,
  publishInventory: () => Promise<number>,
  signal: AbortSignal,
): Promise<{ record: NodeRecord; problems: string[] }> {
  const problems: string[] = [];
  let runningContainers = 0;
  try {
    runningContainers = await publishInventory();
  } catch (thrown) {
    const error = toDrayError(thrown);
    if (error.reason !== "DOCKER_UNAVAILABLE") throw error;
    problems.push(error.message);
  }
  const { facts, memoryTotalBytes, memoryAvailableBytes, cpus } = await host.hostFacts.current({ signal });
  if (facts.criuVersion === 0) problems.push("CRIU is not installed");
  return {
    problems,
    record: {
      name: host.node,
      labels: host.config.labels,
      addresses: [...apiAddresses],
      pageAddresses: host.pageAddresses,
      host: facts,
      memoryTotalBytes,
      // Rounded, so that the record changes when something has changed.
      memoryAvailableBytes: Math.floor(memoryAvailableBytes / 2 ** 26) * 2 ** 26,
      cpus,
      runningContainers,
      problems,
      registeredAtMs,
    },
  };
}

async function runtimeOf(
  host: AgentHost,
  known: Map<string, string>,
  dockerId: string,
  signal: AbortSignal,
): Promise<string> {
  const cached = known.get(dockerId);
  if (cached !== undefined) return cached;
  try {
    const runtime = String((await host.docker.inspectContainer(dockerId, { signal })).HostConfig["Runtime"] ?? "");
    known.set(dockerId, runtime);
    return runtime;
  } catch (thrown) {
    // Removed since it was listed; the next event tells.
    if (toDrayError(thrown).reason === "NOT_FOUND") return "";
    throw thrown;
  }
}
