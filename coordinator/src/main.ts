/** drayage-coordinator. */
import {
  COORDINATOR_CONFIG_FILE,
  type CoordinatorConfig,
  loadCoordinatorConfig,
} from "@drayage/shared/config/coordinator.ts";
import { loadMemberIdentity } from "@drayage/shared/config/member.ts";
import { type RunningDaemon, runDaemon } from "@drayage/shared/daemon/daemon.ts";
import type { Authority } from "@drayage/shared/identity/authority.ts";
import { loadAuthority, pkiFiles, readIfPresent } from "@drayage/shared/identity/store.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import { startCoordinator } from "./coordinator.ts";

await runDaemon({
  part: "coordinator",
  configFile: COORDINATOR_CONFIG_FILE,
  load: loadCoordinatorConfig,
  nodeOf: ({ name }) => name,
  start,
});

async function start(config: CoordinatorConfig, logger: Logger): Promise<RunningDaemon> {
  const identity = await loadMemberIdentity(config, "coordinator", config.name);
  const authority = await authorityIn(config.pkiDirectory);
  const { port, failed, stop } = await startCoordinator({ config, identity, authority, logger });
  return { ready: Promise.resolve({ port }), failed, stop };
}

/** The authority, if its key lies here. */
async function authorityIn(pkiDirectory: string): Promise<Authority | null> {
  if ((await readIfPresent(pkiFiles(pkiDirectory).caKey)) === null) return null;
  return await loadAuthority(pkiDirectory);
}
