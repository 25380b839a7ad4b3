/** Which ended migrations are kept in etcd. Pure. */
import type { MigrationRecord } from "@drayage/shared/state/migration.ts";

/** Ended migrations that are kept. */
export const MIGRATIONS_KEPT = 500;

interface Ended {
  readonly createRevision: number;
  readonly record: Pick<MigrationRecord, "phase">;
}

/** Those that have ended, but for the newest ones. */
export function beyondKept<T extends Ended>(stored: readonly T[], kept: number = MIGRATIONS_KEPT): T[] {
  return stored
    .filter(({ record }) => record.phase === "done")
    .sort((one, other) => other.createRevision - one.createRevision)
    .slice(kept);
}
