/** The one bracket around every phase: journal, time, log, metric, event. */
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { migrationLogger } from "@drayage/shared/observe/logger.ts";
import type { MigrationPhase } from "@drayage/shared/state/migration.ts";
import type { SagaContext } from "./context.ts";

export interface PhaseOptions {
  /**
   * "before": the phase is durable before its first order. "within": the phase
   * is one transaction that carries the record along, so that the downtime
   * does not pay for a write of its own.
   */
  readonly journal: "before" | "within";
}

export async function runPhase<T>(
  context: SagaContext,
  name: Exclude<MigrationPhase, "done">,
  options: PhaseOptions,
  body: () => Promise<T>,
): Promise<T> {
  const { journal, events, metrics } = context;
  const logger = migrationLogger(context.logger, journal.record.id, { phase: name });
  const startedAtMs = Date.now();
  const startedAt = performance.now();
  const begun = { phase: name, phaseStartedAtMs: startedAtMs };
  if (options.journal === "within" || journal.record.phase === name) journal.note(begun);
  else await journal.write(`phase-${name}`, begun);
  logger.info("phase begins");
  const tell = () =>
    events.add({
      type: "migration.phase",
      migrationId: journal.record.id,
      container: journal.record.container,
      message: `phase ${name}`,
    });
  // Within the downtime no other write goes before the phase's own.
  if (options.journal === "before") tell();
  let failure = "";
  try {
    return await body();
  } catch (thrown) {
    failure = toDrayError(thrown).message;
    throw thrown;
  } finally {
    if (options.journal === "within") tell();
    const durationMs = performance.now() - startedAt;
    metrics.phaseDurationSeconds.observe({ phase: name }, durationMs / 1000);
    journal.note({ phases: [...journal.record.phases, { name, startedAtMs, durationMs, node: context.coordinator }] });
    logger.info({ duration_ms: durationMs, error: failure === "" ? undefined : failure }, "phase ends");
  }
}
