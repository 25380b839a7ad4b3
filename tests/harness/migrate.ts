/** `dray migrate`, and what a good end of it must show. */
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import type { TestLab } from "./test-lab.ts";

export const PHASES = ["preflight", "reserve", "sync", "switch", "commit", "activate", "finish"] as const;

export interface CompletedMigration extends MigrationDocument {
  readonly downtime_ms: number;
  readonly total_ms: number;
}

/** Moves the container; throws unless it completed with exit code 0 and a whole report. */
export async function migrate(
  lab: TestLab,
  container: string,
  to: string,
  ...more: string[]
): Promise<CompletedMigration> {
  const { exitCode, document, stderr } = await lab.dray<MigrationDocument>(["migrate", container, "--to", to, ...more]);
  if (exitCode !== 0 || document?.outcome !== "completed") {
    const error = document?.error === undefined ? "" : `\n${JSON.stringify(document.error, null, 2)}`;
    throw new Error(`dray migrate ${container} --to ${to} ended with ${exitCode}${error}\n${stderr.trim()}`);
  }
  const names = document.phases.map(({ name }) => name);
  const missing = PHASES.filter((phase) => !names.includes(phase));
  if (missing.length > 0) throw new Error(`the report lacks ${missing.join(", ")}: ${names.join(", ")}`);
  const { downtime_ms, total_ms } = document;
  if (downtime_ms === null || total_ms === null || !(downtime_ms > 0 && downtime_ms < total_ms)) {
    throw new Error(`downtime ${downtime_ms} ms of ${total_ms} ms in all`);
  }
  return { ...document, downtime_ms, total_ms };
}
