/** What a coordinator counts. Label values are bounded: no container, no migration id. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";

export interface CoordinatorMetrics {
  readonly leader: Gauge;
  readonly leaderTransitions: Counter;
  readonly nodes: Gauge<"state">;
  readonly migrations: Counter<"outcome" | "mode">;
  readonly migrationFailures: Counter<"phase" | "reason">;
  readonly migrationsInProgress: Gauge;
  readonly migrationDuration: Histogram<"mode" | "outcome">;
  readonly migrationDowntime: Histogram<"mode">;
  readonly phaseDuration: Histogram<"phase">;
  readonly placementRejections: Counter<"filter">;
}

export function coordinatorMetrics(registry: Registry): CoordinatorMetrics {
  const registers = [registry];
  return {
    leader: new Gauge({ name: "drayage_leader", help: "1 if this coordinator leads", registers }),
    leaderTransitions: new Counter({
      name: "drayage_leader_transitions_total",
      help: "Times this coordinator began or ceased to lead",
      registers,
    }),
    nodes: new Gauge({ name: "drayage_nodes", help: "Nodes by state", labelNames: ["state"], registers }),
    migrations: new Counter({
      name: "drayage_migrations_total",
      help: "Migrations that ended",
      labelNames: ["outcome", "mode"],
      registers,
    }),
    migrationFailures: new Counter({
      name: "drayage_migration_failures_total",
      help: "Migrations that did not complete, by phase and reason",
      labelNames: ["phase", "reason"],
      registers,
    }),
    migrationsInProgress: new Gauge({
      name: "drayage_migrations_in_progress",
      help: "Migrations under way",
      registers,
    }),
    migrationDuration: new Histogram({
      name: "drayage_migration_duration_seconds",
      help: "From acceptance to the end",
      labelNames: ["mode", "outcome"],
      buckets: [0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1800],
      registers,
    }),
    migrationDowntime: new Histogram({
      name: "drayage_migration_downtime_seconds",
      help: "From the network lock to the thaw",
      labelNames: ["mode"],
      buckets: [0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60],
      registers,
    }),
    phaseDuration: new Histogram({
      name: "drayage_migration_phase_duration_seconds",
      help: "Duration of the phases",
      labelNames: ["phase"],
      buckets: [0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
      registers,
    }),
    placementRejections: new Counter({
      name: "drayage_placement_rejections_total",
      help: "Nodes refused by placement",
      labelNames: ["filter"],
      registers,
    }),
  };
}
