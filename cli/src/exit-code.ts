/** Exit codes: from an error's reason, or from how a migration ended. */
import type { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { MigrationDocument } from "./documents/migration-document.ts";

export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  precondition: 4,
  unavailable: 5,
  rolledBack: 6,
  unknown: 7,
  timeout: 124,
  interrupted: 130,
} as const;

export function exitCodeOfError(error: DrayError): number {
  return error.mapping.exitCode;
}

/** A migration that was rolled back because its time was up counts as a timeout. */
export function exitCodeOfMigration(migration: Pick<MigrationDocument, "outcome" | "error">): number {
  switch (migration.outcome) {
    case "completed":
      return EXIT.done;
    case "rolled_back":
      return migration.error?.reason === "TIMEOUT" ? EXIT.timeout : EXIT.rolledBack;
    case "failed":
      return EXIT.failed;
    case "unknown":
    case null:
      return EXIT.unknown;
  }
}
