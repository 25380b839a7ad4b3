/** Which ended migrations are kept in etcd. Pure. */
import type { MigrationRecord } from "@drayage/shared/state/migration.ts";

/** Ended migrations that are kept. */
export const MIGRATIONS_KEPT = 500;

interface Kept {
  readonly createRevision: number;
  readonly record: Pick<MigrationRecord, "phase" | "outcome" | "containerUuid">;
}

/**
 * Those to be removed: ended ones beyond the newest `kept`. A failed one stays as long as it is the last of its container,
 * which may stand frozen on its source: by this record it can be taken back.
 */
export function expired<T extends Kept>(stored: readonly T[], kept: number = MIGRATIONS_KEPT): T[] {
  const newestFirst = [...stored].sort((one, other) => other.createRevision - one.createRevision);
  const last = new Map<string, T>();
  for (const one of newestFirst) if (!last.has(one.record.containerUuid)) last.set(one.record.containerUuid, one);
  return newestFirst
    .filter(({ record }) => record.phase === "done")
    .slice(kept)
    .filter((one) => one.record.outcome !== "failed" || last.get(one.record.containerUuid) !== one);
}
