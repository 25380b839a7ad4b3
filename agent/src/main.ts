/** drayage-agent: opens everything of this host, takes up what an earlier process left, and serves orders. */
import { hostname } from "node:os";
import { join } from "node:path";
import { joinAddress, splitAddress } from "@drayage/shared/config/address.ts";
import { AGENT_CONFIG_FILE, type AgentConfig, loadAgentConfig } from "@drayage/shared/config/agent.ts";
import { loadMemberIdentity } from "@drayage/shared/config/member.ts";
import { type RunningDaemon, runDaemon } from "@drayage/shared/daemon/daemon.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { openEtcd } from "@drayage/shared/etcd/etcd3-client.ts";
import { expiresAtMs } from "@drayage/shared/identity/identity.ts";
import { serveHttp } from "@drayage/shared/observe/http.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import { agentMetrics, createRegistry } from "@drayage/shared/observe/metrics.ts";
import { observeCalls } from "@drayage/shared/observe/observe-calls.ts";
import { VERSION } from "@drayage/shared/observe/version.ts";
import { startTransferServer } from "@drayage/shared/page-stream/transfer-server.ts";
import { createRpcServer } from "@drayage/shared/rpc/server.ts";
import { migrationService } from "./api/migration-service.ts";
import { openDocker } from "./docker/open-docker.ts";
import { openHostFacts } from "./host-facts/host-facts.ts";
import { openIdentities } from "./identities/identities.ts";
import { Journal } from "./journal/journal.ts";
import type { AgentHost } from "./migration/agent-host.ts";
import { Migrations } from "./migration/migrations.ts";
import { openPageLanes } from "./migration/page-lanes.ts";
import { useFastCrc32 } from "./native/fast-crc32.ts";
import { sweepProbes } from "./preflight/address-probe.ts";
import { Ownership } from "./migration/ownership.ts";
import { TermGuard } from "./migration/term-guard.ts";
import { Listing } from "./registration/listing.ts";
import { startRegistration } from "./registration/registration.ts";
import { openRuntimeGate } from "./runtime-gate/open-runtime-gate.ts";
import { openStartBars } from "./runtime-gate/start-bars.ts";

const SHUTDOWN_GRACE_MS = 10_000;

await runDaemon({
  part: "agent",
  configFile: AGENT_CONFIG_FILE,
  load: loadAgentConfig,
  nodeOf: ({ node }) => node,
  start,
});

/** Serves orders once it is registered; migrations of an earlier process go on before that. */
async function start(config: AgentConfig, logger: Logger): Promise<RunningDaemon> {
  const stopping = new AbortController();
  logger.debug({ is_fast: useFastCrc32() }, "CRC-32");
  const registry = createRegistry("agent");
  const metrics = agentMetrics(registry);
  const identity = await loadMemberIdentity(config, "agent", config.node);
  metrics.certificateExpirySeconds.set({ role: "agent" }, expiresAtMs(identity) / 1000);
  const state = (name: string) => join(config.stateDirectory, name);

  const etcd = observeCalls(
    openEtcd({ endpoints: config.etcdEndpoints, identity }),
    ["get", "getPrefix", "put", "delete", "txn", "grantLease"],
    (operation, seconds, code) => metrics.etcdRequestDurationSeconds.observe({ operation, code }, seconds),
  );
  const docker = observeCalls(
    openDocker({ socketPath: config.dockerSocket }),
    [
      "inspectContainer",
      "listContainers",
      "createContainer",
      "pauseContainer",
      "unpauseContainer",
      "removeContainer",
      "updateRestartPolicy",
    ],
    (operation, seconds, code) => metrics.dockerRequestDurationSeconds.observe({ operation, code }, seconds),
  );
  const lanes = await openPageLanes(config, identity, logger);
  const transferServer = await startTransferServer({
    identity,
    address: config.pageListen,
    lanes,
    onIncident: (message, details) => logger.warn({ details }, message),
  });
  const gate = await openRuntimeGate({
    onProblem: (message, cause) => logger.error({ err: toDrayError(cause) }, message),
  });
  const host: AgentHost = {
    node: config.node,
    config,
    identity,
    docker,
    gate,
    bars: await openStartBars(),
    transferServer,
    lanes,
    pageAddresses: config.advertiseAddresses.map((address) => joinAddress(address, transferServer.port)),
    ownership: new Ownership(etcd, config.node),
    journal: await Journal.open(state("journal")),
    identities: await openIdentities(state("identities")),
    hostFacts: openHostFacts({ docker, drayageVersion: VERSION }),
    listing: new Listing(),
    logger,
    metrics,
    stopping: stopping.signal,
  };
  const migrations = new Migrations(host, await TermGuard.open(state("term")));
  // Left-overs that do no harm are no reason to let frozen containers wait.
  await sweepProbes().catch((thrown: unknown) => logger.warn({ err: toDrayError(thrown) }, "probes were not swept"));
  await migrations.recover();

  const server = createRpcServer({
    identity,
    node: config.node,
    logger,
    registry,
    services: [migrationService(host, migrations)],
  });
  await server.bind(config.listen);
  const apiPort = splitAddress(config.listen).port;
  const registration = startRegistration(
    host,
    etcd,
    config.advertiseAddresses.map((address) => joinAddress(address, apiPort)),
  );
  const http = await serveHttp({
    address: config.metricsListen,
    registry,
    logger,
    readiness: {
      registered: () =>
        registration.registered ? null : "not registered with the cluster: etcd or Docker does not answer",
    },
  });

  return {
    ready: registration.first.then(() => {
      server.setServing(true);
      return { host: hostname() };
    }),
    async stop() {
      server.setServing(false);
      await registration.stop();
      // Migrations under way stay in the journal: the next process goes on with them.
      stopping.abort(
        new DrayError("AGENT_UNAVAILABLE", `the agent of ${config.node} was stopped`, {
          node: config.node,
          remedy: "Migrate again when it runs: `systemctl status drayage-agent` there.",
        }),
      );
      await server.shutdown(SHUTDOWN_GRACE_MS);
      await Promise.all([transferServer.close(), gate.close(), http.close()]);
      await lanes?.close();
      etcd.close();
    },
  };
}
