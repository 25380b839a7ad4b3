/** One coordinator: view, election, API, put together. */
import { joinAddress } from "@drayage/shared/config/address.ts";
import type { CoordinatorConfig } from "@drayage/shared/config/coordinator.ts";
import { openEtcd } from "@drayage/shared/etcd/etcd3-client.ts";
import type { Authority } from "@drayage/shared/identity/authority.ts";
import { expiresAtMs, type Identity } from "@drayage/shared/identity/identity.ts";
import { serveHttp } from "@drayage/shared/observe/http.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import { observeCalls } from "@drayage/shared/observe/observe-calls.ts";
import { coordinatorMetrics, createRegistry } from "@drayage/shared/observe/metrics.ts";
import { createRpcServer } from "@drayage/shared/rpc/server.ts";
import { clusterService } from "./api/cluster-service.ts";
import { joinService } from "./api/join-service.ts";
import { LeaderSeat } from "./api/leader-seat.ts";
import { migrationService } from "./api/migration-service.ts";
import { ClusterView } from "./cluster/view.ts";
import { runElection } from "./election/election.ts";
import { leadCluster } from "./leader-duty.ts";
import { RpcAgents } from "./orders/rpc-agents.ts";
import { SAGA_TIMES, type SagaTimes } from "./saga/context.ts";

export interface CoordinatorOptions {
  readonly config: CoordinatorConfig;
  readonly identity: Identity;
  /** Null unless this coordinator can let nodes join. */
  readonly authority: Authority | null;
  readonly logger: Logger;
  readonly times?: SagaTimes;
}

export interface Coordinator {
  /** Port of the gRPC API. */
  readonly port: number;
  /** Settles only if the coordinator can go on no more; rejects with the cause. */
  readonly failed: Promise<never>;
  /** Refuses new work, resigns, closes everything. Migrations under way are the next leader's. */
  stop(): Promise<void>;
}

const SHUTDOWN_GRACE_MS = 5_000;

/** Returns once the API serves and the cluster has been read. */
export async function startCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const { config, identity, authority, logger } = options;
  const registry = createRegistry("coordinator");
  const metrics = coordinatorMetrics(registry);
  metrics.certificateExpirySeconds.set({ role: "coordinator" }, expiresAtMs(identity) / 1000);
  const etcd = observeCalls(
    openEtcd({ endpoints: config.etcdEndpoints, identity }),
    ["get", "getPrefix", "put", "delete", "txn", "grantLease"],
    (operation, seconds, code) => metrics.etcdRequestDurationSeconds.observe({ operation, code }, seconds),
  );
  const viewing = new AbortController();
  const view = new ClusterView(etcd, logger);
  const viewRun = view.run(viewing.signal);
  await Promise.race([view.loaded(), viewRun]);
  const countNodes = () => {
    metrics.nodes.reset();
    for (const { state } of view.nodes()) metrics.nodes.inc({ state });
  };
  countNodes();
  view.onNodeState(countNodes);

  const agents = new RpcAgents({ identity, addressesOf: (node) => view.addressesOf(node) });
  const seat = new LeaderSeat({ identity, name: config.name, view });
  const server = createRpcServer({
    identity,
    node: config.name,
    logger,
    registry,
    services: [
      clusterService({ name: config.name, etcd, view, agents }),
      migrationService({ etcd, view, seat }),
      joinService({
        etcd,
        identity,
        authority,
        signers: () => view.candidates().filter((each) => each.signs && each.name !== config.name),
        logger,
      }),
    ],
  });
  const port = await server.bind(config.listen);
  const http = await serveHttp({
    address: config.metricsListen,
    registry,
    logger,
    readiness: { leader: () => (view.leader() === undefined ? "no coordinator leads" : null) },
  });

  const campaigning = new AbortController();
  const candidate = {
    name: config.name,
    addresses: config.advertiseAddresses.map((host) => joinAddress(host, port)),
    signs: authority !== null,
  };
  const lead = (leadership: Parameters<typeof leadCluster>[1]) =>
    leadCluster(
      { coordinator: config.name, etcd, view, agents, seat, metrics, logger, times: options.times ?? SAGA_TIMES },
      leadership,
    );
  const election = runElection(
    { etcd, candidate, leaseTtlSeconds: config.leaseTtlSeconds, logger, lead },
    campaigning.signal,
  );

  return {
    port,
    failed: failureOf([viewRun, election]),
    stop: async () => {
      server.setServing(false);
      campaigning.abort();
      await election.catch(() => undefined);
      await server.shutdown(SHUTDOWN_GRACE_MS);
      viewing.abort();
      await viewRun.catch(() => undefined);
      agents.close();
      seat.close();
      await http.close();
      etcd.close();
    },
  };
}

/** Rejects with the first failure; success is an end that was asked for, and settles nothing. */
function failureOf(runs: readonly Promise<void>[]): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  for (const run of runs) run.catch(reject);
  // Told to whoever asks; a coordinator that is stopped asks no more.
  promise.catch(() => undefined);
  return promise;
}
