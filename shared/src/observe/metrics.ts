/**
 * Prometheus metrics. A registry per process; the metrics of a part are made
 * once, by the part that has something to say. Labels are bounded: never an id.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import { REVISION, VERSION } from "./version.ts";

export { Registry } from "prom-client";

/** A registry with drayage_build_info and the process's own metrics. */
export function createRegistry(role: string): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const build = new Gauge({
    name: "drayage_build_info",
    help: "Always 1; labels say what runs.",
    labelNames: ["version", "revision", "role"] as const,
    registers: [registry],
  });
  build.set({ version: VERSION, revision: REVISION, role }, 1);
  return registry;
}

const REQUEST_SECONDS = [0.001, 0.005, 0.025, 0.1, 0.5, 2, 10];
const PHASE_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const DOWNTIME_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const MIGRATION_SECONDS = [0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800];
const MEMORY_BYTES = [2 ** 20, 2 ** 23, 2 ** 26, 2 ** 28, 2 ** 30, 2 ** 32, 2 ** 34];

export type AgentMetrics = ReturnType<typeof agentMetrics>;

/** What an agent measures of its part of migrations. */
export function agentMetrics(registry: Registry) {
  const registers = [registry];
  return {
    /** role: source, destination. */
    migrationsInProgress: new Gauge({
      name: "drayage_migrations_in_progress",
      help: "Migrations under way, by the part this process has in them.",
      labelNames: ["role"] as const,
      registers,
    }),
    phaseDurationSeconds: phaseDuration(registry),
    rollbacksTotal: new Counter({
      name: "drayage_migration_rollbacks_total",
      help: "Migrations that ended with the source running on.",
      labelNames: ["outcome"] as const,
      registers,
    }),
    /** direction: sent, received; kind: pages, layer, image. Before compression. */
    transferBytesTotal: new Counter({
      name: "drayage_transfer_bytes_total",
      help: "Bytes of content moved between agents.",
      labelNames: ["direction", "kind"] as const,
      registers,
    }),
    transferWireBytesTotal: new Counter({
      name: "drayage_transfer_wire_bytes_total",
      help: "Bytes on the wire between agents, before TLS.",
      labelNames: ["direction"] as const,
      registers,
    }),
    criuDurationSeconds: new Histogram({
      name: "drayage_criu_duration_seconds",
      help: "Duration of runs of CRIU, and of what it says of the memory within a dump.",
      labelNames: ["operation"] as const,
      buckets: PHASE_SECONDS,
      registers,
    }),
    criuErrorsTotal: new Counter({
      name: "drayage_criu_errors_total",
      help: "Failed runs of CRIU, by cause.",
      labelNames: ["operation", "reason"] as const,
      registers,
    }),
    checkpointSizeBytes: new Histogram({
      name: "drayage_checkpoint_size_bytes",
      help: "Memory images of one dump.",
      buckets: MEMORY_BYTES,
      registers,
    }),
    preCopyRounds: new Histogram({
      name: "drayage_precopy_rounds",
      help: "Rounds of memory of one migration, before the switch.",
      buckets: [1, 2, 3, 4, 6, 8, 12, 16],
      registers,
    }),
    preCopyDirtyBytes: new Histogram({
      name: "drayage_precopy_dirty_bytes",
      help: "Memory that one round after the first found changed.",
      buckets: MEMORY_BYTES,
      registers,
    }),
    lazyPageFaultDurationSeconds: new Histogram({
      name: "drayage_lazy_page_fault_duration_seconds",
      help: "Mean and longest wait of a copy's threads for a page, of one migration.",
      labelNames: ["statistic"] as const,
      buckets: REQUEST_SECONDS,
      registers,
    }),
    dockerRequestDurationSeconds: new Histogram({
      name: "drayage_docker_request_duration_seconds",
      help: "Duration of requests to Docker.",
      labelNames: ["operation", "code"] as const,
      buckets: REQUEST_SECONDS,
      registers,
    }),
    etcdRequestDurationSeconds: etcdRequestDuration(registry),
    certificateExpirySeconds: certificateExpiry(registry),
  };
}

export type CoordinatorMetrics = ReturnType<typeof coordinatorMetrics>;

/** What a coordinator measures of the cluster and the migrations it leads. */
export function coordinatorMetrics(registry: Registry) {
  const registers = [registry];
  return {
    migrationsTotal: new Counter({
      name: "drayage_migrations_total",
      help: "Migrations that have ended.",
      labelNames: ["outcome", "mode"] as const,
      registers,
    }),
    migrationFailuresTotal: new Counter({
      name: "drayage_migration_failures_total",
      help: "Migrations that failed, by where and why.",
      labelNames: ["phase", "reason"] as const,
      registers,
    }),
    migrationsInProgress: new Gauge({
      name: "drayage_migrations_in_progress",
      help: "Migrations under way, by the part this process has in them.",
      labelNames: ["role"] as const,
      registers,
    }),
    migrationDurationSeconds: new Histogram({
      name: "drayage_migration_duration_seconds",
      help: "From request to end.",
      labelNames: ["mode", "outcome"] as const,
      buckets: MIGRATION_SECONDS,
      registers,
    }),
    migrationDowntimeSeconds: new Histogram({
      name: "drayage_migration_downtime_seconds",
      help: "From freeze on the source to thaw on the destination.",
      labelNames: ["mode"] as const,
      buckets: DOWNTIME_SECONDS,
      registers,
    }),
    phaseDurationSeconds: phaseDuration(registry),
    rollbacksTotal: new Counter({
      name: "drayage_migration_rollbacks_total",
      help: "Migrations that ended with the source running on.",
      labelNames: ["outcome"] as const,
      registers,
    }),
    leader: new Gauge({ name: "drayage_leader", help: "1 if this coordinator leads.", registers }),
    leaderTransitionsTotal: new Counter({
      name: "drayage_leader_transitions_total",
      help: "Times this coordinator became or ceased to be leader.",
      registers,
    }),
    nodes: new Gauge({ name: "drayage_nodes", help: "Nodes by state.", labelNames: ["state"] as const, registers }),
    placementRejectionsTotal: new Counter({
      name: "drayage_placement_rejections_total",
      help: "Nodes ruled out in placement, by filter.",
      labelNames: ["filter"] as const,
      registers,
    }),
    etcdRequestDurationSeconds: etcdRequestDuration(registry),
    certificateExpirySeconds: certificateExpiry(registry),
  };
}

function phaseDuration(registry: Registry) {
  return new Histogram({
    name: "drayage_migration_phase_duration_seconds",
    help: "Duration of one phase of a migration.",
    labelNames: ["phase"] as const,
    buckets: PHASE_SECONDS,
    registers: [registry],
  });
}

function etcdRequestDuration(registry: Registry) {
  return new Histogram({
    name: "drayage_etcd_request_duration_seconds",
    help: "Duration of requests to etcd.",
    labelNames: ["operation", "code"] as const,
    buckets: REQUEST_SECONDS,
    registers: [registry],
  });
}

/** Set it from `expiresAtMs(identity) / 1000`. */
function certificateExpiry(registry: Registry) {
  return new Gauge({
    name: "drayage_tls_certificate_expiry_timestamp_seconds",
    help: "When this process's certificate expires.",
    labelNames: ["role"] as const,
    registers: [registry],
  });
}
