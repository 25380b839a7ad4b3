/** drayage-agent: opens everything of this host, takes up what an earlier process left, and serves orders. */
import { hostname } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { joinAddress, splitAddress } from "@drayage/shared/config/address.ts";
import { AGENT_CONFIG_FILE, type AgentConfig, loadAgentConfig } from "@drayage/shared/config/agent.ts";
import { loadMemberIdentity } from "@drayage/shared/config/member.ts";
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { openEtcd } from "@drayage/shared/etcd/etcd3-client.ts";
import { expiresAtMs } from "@drayage/shared/identity/identity.ts";
import { serveHttp } from "@drayage/shared/observe/http.ts";
import { createLogger, type Logger } from "@drayage/shared/observe/logger.ts";
import { agentMetrics, createRegistry } from "@drayage/shared/observe/metrics.ts";
import { observeCalls } from "@drayage/shared/observe/observe-calls.ts";
import { createSupervisor } from "@drayage/shared/observe/sd-notify.ts";
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
import { sweepProbes } from "./preflight/address-probe.ts";
import { Ownership } from "./migration/ownership.ts";
import { TermGuard } from "./migration/term-guard.ts";
import { startRegistration } from "./registration/registration.ts";
import { openRuntimeGate } from "./runtime-gate/open-runtime-gate.ts";

const SHUTDOWN_GRACE_MS = 10_000;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: "string" },
      "check-config": { type: "boolean", default: false },
      version: { type: "boolean", default: false },
    },
  });
  if (values.version) {
    process.stdout.write(`drayage-agent ${VERSION}\n`);
    return;
  }
  const config = await loadAgentConfig({ path: values.config, env: process.env });
  if (values["check-config"]) {
    process.stdout.write(`${values.config ?? AGENT_CONFIG_FILE} is valid\n`);
    return;
  }
  const logger = createLogger({ level: config.logLevel, part: "agent", node: config.node });
  process.on("SIGHUP", () => void reloadLogLevel(values.config, logger));
  await run(config, logger);
}

async function reloadLogLevel(path: string | undefined, logger: Logger): Promise<void> {
  try {
    logger.level = (await loadAgentConfig({ path, env: process.env })).logLevel;
    logger.info({ level: logger.level }, "log level");
  } catch (thrown) {
    logger.error({ err: toDrayError(thrown) }, "the configuration was not reloaded");
  }
}

async function run(config: AgentConfig, logger: Logger): Promise<void> {
  const supervisor = createSupervisor({ logger });
  const stopping = new AbortController();
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
  const transferServer = await startTransferServer({
    identity,
    address: config.pageListen,
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
    transferServer,
    pageAddresses: config.advertiseAddresses.map((address) => joinAddress(address, transferServer.port)),
    ownership: new Ownership(etcd, config.node),
    journal: await Journal.open(state("journal")),
    identities: await openIdentities(state("identities")),
    hostFacts: openHostFacts({ docker, drayageVersion: VERSION }),
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

  const stop = async (signalName: string) => {
    logger.info({ signal: signalName }, "stopping");
    await supervisor.stopping();
    server.setServing(false);
    await registration.stop();
    // Migrations under way stay in the journal: the next process goes on with them.
    stopping.abort(new Error("the agent stops"));
    await server.shutdown(SHUTDOWN_GRACE_MS);
    await Promise.all([transferServer.close(), gate.close(), http.close()]);
    etcd.close();
    process.exit(0);
  };
  process.once("SIGTERM", () => void stop("SIGTERM"));
  process.once("SIGINT", () => void stop("SIGINT"));

  await registration.first;
  server.setServing(true);
  await supervisor.ready();
  logger.info({ version: VERSION, host: hostname() }, "ready");
}

main().catch((thrown: unknown) => {
  const error = toDrayError(thrown);
  process.stderr.write(`drayage-agent: ${error.message}\n  remedy: ${error.remedy}\n`);
  process.exit(error.mapping.exitCode);
});
