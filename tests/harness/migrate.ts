/** `dray migrate`, and what a good end of it must show. */
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import type { TestLab } from "./test-lab.ts";

export const PHASES = ["preflight", "reserve", "sync", "switch", "commit", "activate", "finish"] as const;

/** Moves the container; throws unless it completed with exit code 0 and a whole report. */
export async function migrate(
  lab: TestLab,
  container: string,
  to: string,
  ...more: string[]
): Promise<MigrationDocument> {
  const { exitCode, document, stderr } = await lab.dray<MigrationDocument>(["migrate", container, "--to", to, ...more]);
  if (exitCode !== 0 || document?.outcome !== "completed") {
    const error = document?.error === undefined ? "" : `\n${JSON.stringify(document.error, null, 2)}`;
    throw new Error(`dray migrate ${container} --to ${to} ended with ${exitCode}${error}\n${stderr.trim()}`);
  }
  const names = document.phases.map(({ name }) => name);
  const missing = PHASES.filter((phase) => !names.includes(phase));
  if (missing.length > 0) throw new Error(`the report lacks ${missing.join(", ")}: ${names.join(", ")}`);
  if (!(document.downtime_ms > 0 && document.downtime_ms < document.total_ms)) {
    throw new Error(`downtime ${document.downtime_ms} ms of ${document.total_ms} ms in all`);
  }
  return document;
}
