/** drayage-coordinator. */
import { parseArgs } from "node:util";
import { COORDINATOR_CONFIG_FILE, loadCoordinatorConfig } from "@drayage/shared/config/coordinator.ts";
import { loadMemberIdentity } from "@drayage/shared/config/member.ts";
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Authority } from "@drayage/shared/identity/authority.ts";
import { loadAuthority, pkiFiles, readIfPresent } from "@drayage/shared/identity/store.ts";
import { createLogger, type Logger } from "@drayage/shared/observe/logger.ts";
import { createSupervisor } from "@drayage/shared/observe/sd-notify.ts";
import { VERSION } from "@drayage/shared/observe/version.ts";
import { startCoordinator } from "./coordinator.ts";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: "string" },
      "check-config": { type: "boolean", default: false },
      version: { type: "boolean", default: false },
    },
  });
  if (values.version) {
    process.stdout.write(`drayage-coordinator ${VERSION}\n`);
    return;
  }
  const config = await loadCoordinatorConfig({ path: values.config, env: process.env });
  if (values["check-config"]) {
    process.stdout.write(`${values.config ?? COORDINATOR_CONFIG_FILE} is valid\n`);
    return;
  }
  const logger = createLogger({ level: config.logLevel, part: "coordinator", node: config.name });
  const supervisor = createSupervisor({ logger });
  const identity = await loadMemberIdentity(config, "coordinator", config.name);
  const coordinator = await startCoordinator({
    config,
    identity,
    authority: await authorityIn(config.pkiDirectory),
    logger,
  });
  process.on("SIGHUP", () => void reloadLogLevel(values.config, logger));
  await supervisor.ready();
  logger.info({ version: VERSION, port: coordinator.port }, "ready");
  const signal = await Promise.race([stopSignal(), coordinator.failed]);
  logger.info({ signal }, "stopping");
  await supervisor.stopping();
  await coordinator.stop();
  process.exit(0);
}

function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => resolve(name));
  });
}

/** The authority, if its key lies here. */
async function authorityIn(pkiDirectory: string): Promise<Authority | null> {
  if ((await readIfPresent(pkiFiles(pkiDirectory).caKey)) === null) return null;
  return await loadAuthority(pkiDirectory);
}

async function reloadLogLevel(path: string | undefined, logger: Logger): Promise<void> {
  try {
    logger.level = (await loadCoordinatorConfig({ path, env: process.env })).logLevel;
    logger.info({ level: logger.level }, "log level");
  } catch (thrown) {
    logger.error({ err: thrown }, "the configuration was not reloaded");
  }
}

main().catch((thrown: unknown) => {
  const error = toDrayError(thrown);
  process.stderr.write(`drayage-coordinator: ${error.message}\n  remedy: ${error.remedy}\n`);
  process.exit(error.mapping.exitCode);
});
