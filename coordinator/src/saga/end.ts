/** The end of a migration: record and container's lock in one transaction. */
import { keys } from "@drayage/shared/state/keys.ts";
import type { MigrationOutcome } from "@drayage/shared/state/migration.ts";
import type { SagaContext } from "./context.ts";

/** The outcomes in which nothing more will be done. */
export async function endMigration(context: SagaContext, outcome: MigrationOutcome, reason: string): Promise<void> {
  const { journal, events, metrics } = context;
  const { containerUuid, startedAtMs, mode, container, id, source, destination } = journal.record;
  const totalMs = Date.now() - startedAtMs;
  await journal.write("done", { phase: "done", outcome, reason, totalMs }, [
    { do: "delete", key: keys.migrationLock(containerUuid) },
  ]);
  const { error, downtimeMs } = journal.record;
  metrics.migrationsTotal.inc({ outcome, mode });
  metrics.migrationDurationSeconds.observe({ mode, outcome }, totalMs / 1000);
  if (outcome === "completed" && downtimeMs !== null)
    metrics.migrationDowntimeSeconds.observe({ mode }, downtimeMs / 1000);
  if (outcome === "rolled_back") metrics.rollbacksTotal.inc({ outcome });
  if (error !== null) metrics.migrationFailuresTotal.inc({ phase: error.phase, reason: error.reason });
  events.add({
    type: `migration.${outcome.replace("_", "-")}`,
    node: outcome === "completed" ? destination : source,
    container,
    migrationId: id,
    message: `${container}: ${source} to ${destination}: ${reason}`,
  });
}
