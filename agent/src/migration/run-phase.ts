/**
 * Runs one step of a migration and brackets it: log at both ends, metric,
 * fault points, and the time that the report shows.
 */
import type { PhaseTime } from "@drayage/shared/gen/drayage/common/v1/progress.ts";
import { type DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import type { AgentMetrics } from "@drayage/shared/observe/metrics.ts";

export interface PhaseContext {
  readonly migrationId: string;
  readonly node: string;
  readonly logger: Logger;
  readonly metrics: AgentMetrics;
  /** Times so far, in order; `runPhase` appends. */
  readonly times: PhaseTime[];
  /** Fires when the agent stops; its reason is then what the phase has failed of. */
  readonly stopping: AbortSignal;
}

/**
 * Runs `body` as the phase `name`.
 *
 * Postconditions: on return the phase is in `context.times`; on a throw it is
 * there too, with the time until the failure, and the error names the node.
 * What was called off because the agent stops fails with the reason of that.
 */
export async function runPhase<T>(context: PhaseContext, name: string, body: () => Promise<T>): Promise<T> {
  const startedAtMs = Date.now();
  const start = performance.now();
  context.logger.debug({ phase: name }, "phase begins");
  const end = () => {
    const durationMs = performance.now() - start;
    context.times.push({ name, startedAtMs, durationMs, node: context.node });
    context.metrics.phaseDurationSeconds.observe({ phase: name }, durationMs / 1000);
    if (isCriu(name)) context.metrics.criuDurationSeconds.observe({ operation: name }, durationMs / 1000);
    return durationMs;
  };
  try {
    const result = await body();
    context.logger.info({ phase: name, duration_ms: end() }, "phase done");
    return result;
  } catch (thrown) {
    const error = causeOf(toDrayError(thrown), context.stopping);
    if (isCriu(name)) context.metrics.criuErrorsTotal.inc({ operation: name, reason: error.reason });
    const told = { phase: name, duration_ms: end(), reason: error.reason };
    // Somebody wanted it so.
    if (error.reason === "CANCELLED") context.logger.info(told, "phase called off");
    else context.logger.warn({ ...told, err: error }, "phase failed");
    throw error;
  }
}

function causeOf(error: DrayError, stopping: AbortSignal): DrayError {
  return error.reason === "CANCELLED" && stopping.aborted ? toDrayError(stopping.reason) : error;
}

/** The phases that are runs of CRIU. */
function isCriu(phase: string): boolean {
  return phase === "dump" || phase === "restore";
}
