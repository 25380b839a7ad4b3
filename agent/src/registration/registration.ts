/**
 * Keeps this node and its containers visible in etcd for as long as the agent
 * lives: everything hangs on one lease, so a dead node's records go with it.
 *
 * A write that fails is tried again under the same lease: members of etcd come
 * and go, and a node that left the cluster with each of them would take its
 * containers from view, and its migrations along, since a commit demands the
 * lease that was there before the switch. Only a lost lease is replaced by a
 * new one, and everything is published again; the containers are not touched
 * by it (invariant 9).
 */
import { pause, pauseAtMost } from "@drayage/shared/concurrency/pause.ts";
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Reason } from "@drayage/shared/errors/reason.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import type { Lease } from "@drayage/shared/etcd/guarded-lease.ts";
import type { NodeRecord } from "@drayage/shared/state/node.ts";
import type { AgentHost } from "../migration/agent-host.ts";
import { inventoryRecord } from "./inventory.ts";
import { Publication } from "./publication.ts";

const RETRY_MS = 1_000;
/** How often memory and problems, and what etcd has of this node, are looked at again. */
const REFRESH_MS = 10_000;
/** Docker holds the lock of a container that it starts: nothing else of the inventory waits for that. */
const RUNTIME_MS = 1_000;

/** What is wrong with Docker, and so with the node; any other failure is one of publishing. */
const DOCKER_FAILURES: ReadonlySet<Reason> = new Set(["DOCKER_UNAVAILABLE", "DOCKER_ERROR", "TIMEOUT"]);

/** Docker's events that change what the inventory shows; health checks alone make many others. */
const FOLLOWED_EVENTS = [
  ...["create", "start", "die", "destroy", "pause", "unpause", "rename", "update"],
  ...["connect", "disconnect"],
] as const;

export interface RegistrationHost
  extends Pick<AgentHost, "node" | "pageAddresses" | "identities" | "hostFacts" | "listing" | "logger" | "stopping"> {
  readonly config: Pick<AgentHost["config"], "leaseTtlSeconds" | "labels">;
  readonly docker: Pick<AgentHost["docker"], "listContainers" | "inspectContainer" | "events">;
}

export interface Registration {
  /** False while the node is not visible to the cluster. */
  readonly registered: boolean;
  /** Resolves when the node has become visible for the first time. */
  readonly first: Promise<void>;
  /** Takes the node out of the cluster and ends. */
  stop(): Promise<void>;
}

export function startRegistration(
  host: RegistrationHost,
  etcd: EtcdPort,
  apiAddresses: readonly string[],
): Registration {
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
          host.listing.by(undefined);
          await lease.revoke();
        }
      } catch (thrown) {
        if (signal.aborted) break;
        host.logger.warn({ err: toDrayError(thrown) }, "not registered with the cluster, trying again");
        await pauseAtMost(RETRY_MS, signal);
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
  host: RegistrationHost,
  etcd: EtcdPort,
  apiAddresses: readonly string[],
  lease: Lease,
  signal: AbortSignal,
  onRegistered: () => void,
): Promise<never> {
  const registeredAtMs = Date.now();
  const publication = new Publication(etcd, host.node, lease);
  const runtimes = new Map<string, string>();
  /** Whether etcd may have something else than what was written there. */
  let isInDoubt = false;
  let isShown = false;

  const publishInventory = async (): Promise<number> => {
    // Read before the list: whatever is new in the list has its identity from now on.
    const known = await host.identities.all();
    const containers = await host.docker.listContainers({ signal });
    const present = new Set(containers.map(({ Id }) => Id));
    for (const dockerId of known.keys()) if (!present.has(dockerId)) await host.identities.forget(dockerId);
    for (const dockerId of runtimes.keys()) if (!present.has(dockerId)) runtimes.delete(dockerId);
    const records = await Promise.all(
      containers.map(async (summary) => {
        const uuid = await host.identities.identityOf(summary.Id);
        return inventoryRecord(host.node, uuid, summary, await runtimeOf(host, runtimes, summary.Id, signal));
      }),
    );
    await publication.putInventory(records, signal);
    return records.filter(({ state }) => state === "running").length;
  };

  const observeAndPublish = async (): Promise<void> => {
    if (isInDoubt) await publication.lookAgain(signal);
    isInDoubt = false;
    const record = await observeNode(host, apiAddresses, registeredAtMs, publishInventory, signal);
    await publication.putNode(record, signal);
    if (!isShown) host.logger.info({ problems: record.problems }, "registered with the cluster");
    isShown = true;
  };

  /** Ends with everything published, or with the lease. */
  const publishAtLast = async (): Promise<void> => {
    for (;;) {
      try {
        return await observeAndPublish();
      } catch (thrown) {
        signal.throwIfAborted();
        isInDoubt = true;
        host.logger.warn({ err: toDrayError(thrown) }, "the cluster sees an older state of this node, trying again");
        await pause(RETRY_MS, signal);
      }
    }
  };

  // One after the other; those that come meanwhile are served by one more.
  let running: Promise<void> | undefined;
  let waiting: Promise<void> | undefined;
  const publishNode = (): Promise<void> => {
    if (running === undefined) {
      running = publishAtLast().finally(() => {
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
  host.listing.by(publishNode);
  const refreshing = (async () => {
    for (;;) {
      await pause(REFRESH_MS, signal);
      isInDoubt = true;
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
  host: RegistrationHost,
  apiAddresses: readonly string[],
  registeredAtMs: number,
  publishInventory: () => Promise<number>,
  signal: AbortSignal,
): Promise<NodeRecord> {
  const problems: string[] = [];
  let runningContainers = 0;
  try {
    runningContainers = await publishInventory();
  } catch (thrown) {
    const error = toDrayError(thrown);
    if (!DOCKER_FAILURES.has(error.reason)) throw error;
    problems.push(error.message);
  }
  const { facts, memoryTotalBytes, memoryAvailableBytes, cpus } = await host.hostFacts.current({ signal });
  if (facts.criuVersion === 0) problems.push("CRIU is not installed");
  if (facts.criuObjection !== "") problems.push(`CRIU does not work on this kernel: ${facts.criuObjection}`);
  return {
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
  };
}

async function runtimeOf(
  host: RegistrationHost,
  known: Map<string, string>,
  dockerId: string,
  signal: AbortSignal,
): Promise<string> {
  const cached = known.get(dockerId);
  if (cached !== undefined) return cached;
  try {
    const inspect = await host.docker.inspectContainer(dockerId, { signal, deadlineMs: RUNTIME_MS });
    const runtime = String(inspect.HostConfig["Runtime"] ?? "");
    known.set(dockerId, runtime);
    return runtime;
  } catch (thrown) {
    // Removed since it was listed, or being started: the next event tells, or the next look.
    const { reason } = toDrayError(thrown);
    if (reason === "NOT_FOUND" || reason === "TIMEOUT") return "";
    throw thrown;
  }
}
