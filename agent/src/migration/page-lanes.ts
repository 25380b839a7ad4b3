/** Opens this agent's lanes, as many as its configuration says. */
import { availableParallelism } from "node:os";
import { splitAddress } from "@drayage/shared/config/address.ts";
import type { AgentConfig } from "@drayage/shared/config/agent.ts";
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Identity } from "@drayage/shared/identity/identity.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import { type LaneThreads, openLaneThreads } from "@drayage/shared/page-stream/lanes/lane-threads.ts";

/**
 * How many connections a transfer has, given what is configured. Threads beside the main one pay only where there are
 * cores for them, and the containers need some, too.
 */
export function connectionCount(configured: AgentConfig["pageConnections"], cores: number): number {
  if (configured !== "auto") return configured;
  return cores < 4 ? 1 : Math.min(4, Math.floor(cores / 2));
}

/** Undefined for one connection, and where there can be none: an agent without lanes is slower, one that does not start leaves frozen containers alone. */
export async function openPageLanes(
  { pageConnections, pageListen, pageLanePort }: AgentConfig,
  identity: Identity,
  logger: Logger,
): Promise<LaneThreads | undefined> {
  const count = connectionCount(pageConnections, availableParallelism());
  if (count === 1) return undefined;
  try {
    return await openLaneThreads({
      identity,
      count,
      host: splitAddress(pageListen).host,
      firstPort: pageLanePort,
      onIncident: (message, details) => logger.warn({ details }, message),
    });
  } catch (thrown) {
    const remedy = `Free TCP ports ${pageLanePort} to ${pageLanePort + count - 1}, set another pageLanePort, or pageConnections to 1.`;
    logger.warn({ err: toDrayError(thrown), remedy }, "page lanes cannot be had; transfers go over one connection");
    return undefined;
  }
}
