/** From records to messages of the public API. Pure. */
import type { Container, Event, Node } from "@drayage/shared/gen/drayage/coordinator/v1/cluster.ts";
import { type Migration, Mode, Outcome } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import type { EventRecord, MigrationMode, MigrationOutcome } from "@drayage/shared/state/migration.ts";
import type { InventoryRecord } from "@drayage/shared/state/node.ts";
import type { ClusterNode } from "../cluster/view.ts";
import { fromFindingRecord } from "../preflight/findings.ts";
import type { MigrationState } from "../saga/feed.ts";

const MODES: Record<MigrationMode, Mode> = {
  auto: Mode.MODE_AUTO,
  "stop-copy": Mode.MODE_STOP_COPY,
  "pre-copy": Mode.MODE_PRE_COPY,
  "post-copy": Mode.MODE_POST_COPY,
  hybrid: Mode.MODE_HYBRID,
};

const OUTCOMES: Record<MigrationOutcome, Outcome> = {
  completed: Outcome.OUTCOME_COMPLETED,
  rolled_back: Outcome.OUTCOME_ROLLED_BACK,
  failed: Outcome.OUTCOME_FAILED,
  unknown: Outcome.OUTCOME_UNKNOWN,
};

export function toMigration({ record, progress }: MigrationState): Migration {
  const { id, containerUuid, container, source, destination, phase, reason, rounds, memoryBytes, wireBytes, phases } =
    record;
  return {
    id,
    containerUuid,
    container,
    source,
    destination,
    mode: MODES[record.mode],
    phase,
    outcome: record.outcome === null ? Outcome.OUTCOME_UNSPECIFIED : OUTCOMES[record.outcome],
    reason,
    downtimeMs: record.downtimeMs ?? 0,
    totalMs: record.totalMs ?? 0,
    rounds,
    memoryBytes,
    wireBytes,
    phases,
    error: record.error ?? undefined,
    startedAtMs: record.startedAtMs,
    progress,
    findings: record.findings.map(fromFindingRecord),
    cancelRequested: record.cancelRequested,
    decisions: record.decisions,
    phaseStartedAtMs: phase === "done" ? 0 : (record.phaseStartedAtMs ?? 0),
    frozenMs: record.frozenMs ?? undefined,
    maxDowntimeMs: record.maxDowntimeMs,
  };
}

export function toNode({ record, state, lastSeenMs }: ClusterNode): Node {
  const {
    name,
    labels,
    addresses,
    host,
    memoryTotalBytes,
    memoryAvailableBytes,
    cpus,
    runningContainers,
    problems,
    registeredAtMs,
  } = record;
  return {
    name,
    state,
    labels,
    addresses,
    host,
    memoryTotalBytes,
    memoryAvailableBytes,
    cpus,
    runningContainers,
    problems: state === "down" ? ["the agent's lease has ended"] : problems,
    registeredAtMs,
    lastSeenMs: lastSeenMs ?? 0,
  };
}

export function toContainer(record: InventoryRecord, epoch: number, migrationId: string): Container {
  return { ...record, epoch, migrationId };
}

export function toEvent(record: EventRecord, revision: number): Event {
  return { ...record, revision };
}
