/** The migrations of one term: takes over those found, accepts new ones, lets them be cancelled. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { readOwner } from "@drayage/shared/etcd/change-owner.ts";
import type { EtcdPort, Operation } from "@drayage/shared/etcd/etcd-port.ts";
import { decodeRecord, type Stored } from "@drayage/shared/etcd/records.ts";
import type { SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { StartMigrationRequest } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import type { CoordinatorMetrics } from "@drayage/shared/observe/metrics.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { MigrationRecord } from "@drayage/shared/state/migration.ts";
import type { EventLog } from "../cluster/event-log.ts";
import type { ClusterView } from "../cluster/view.ts";
import type { Leadership } from "../election/leadership.ts";
import type { Agents } from "../orders/agent-orders.ts";
import { accept } from "./accept.ts";
import type { SagaTimes } from "./context.ts";
import { MigrationFeed } from "./feed.ts";
import { Journal } from "./journal.ts";
import { isTooLateToCancel } from "./next-step.ts";
import { beyondKept } from "./retention.ts";
import { runMigration } from "./run-migration.ts";
import { canBeTakenBack, takeBack } from "./take-back.ts";

export interface SupervisorOptions {
  readonly coordinator: string;
  readonly etcd: EtcdPort;
  readonly leadership: Leadership;
  readonly view: ClusterView;
  readonly agents: Agents;
  readonly events: EventLog;
  readonly metrics: CoordinatorMetrics;
  readonly logger: Logger;
  readonly times: SagaTimes;
}

interface Running {
  readonly journal: Journal;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

export class SagaSupervisor {
  readonly feed = new MigrationFeed();
  readonly #options: SupervisorOptions;
  readonly #running = new Map<string, Running>();

  private constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Goes on with every migration that has not ended. */
  static async takeOver(options: SupervisorOptions): Promise<SagaSupervisor> {
    const supervisor = new SagaSupervisor(options);
    for (const { record } of await supervisor.#stored()) {
      if (record.phase === "done") continue;
      options.logger.info({ migration_id: record.id, phase: record.phase }, "takes over a migration");
      options.events.add({
        type: "migration.taken-over",
        container: record.container,
        migrationId: record.id,
        message: `${options.coordinator} goes on with the migration in phase ${record.phase}`,
      });
      supervisor.#run(record, null);
    }
    await supervisor.#prune();
    return supervisor;
  }

  async start(request: StartMigrationRequest, signal: AbortSignal): Promise<MigrationRecord> {
    const { coordinator, etcd, leadership, view, agents, metrics, events } = this.#options;
    const accepted = await accept(
      {
        coordinator,
        etcd,
        leadership,
        view,
        agents,
        nodes: () => view.nodes(),
        onRefusal: ({ filter }) => metrics.placementRejectionsTotal.inc({ filter }),
      },
      request,
      signal,
    );
    const { record, description } = accepted;
    if (description === null) return record;
    events.add({
      type: "migration.started",
      node: record.source,
      container: record.container,
      migrationId: record.id,
      message: `${record.container}: ${record.source} to ${record.destination}`,
    });
    this.#run(record, description);
    return record;
  }

  /**
   * Asks for a roll-back. TOO_LATE from the commit on, and once it has ended; except that one which has failed after
   * the commit is taken up again where `allowProgressLoss`.
   */
  async cancel(id: string, allowProgressLoss: boolean): Promise<MigrationRecord> {
    const running = this.#running.get(id);
    if (running === undefined) {
      if (allowProgressLoss) return await this.#takeBack(id);
      throw new DrayError("TOO_LATE", `migration ${id} has ended`, {
        remedy: "See how with `dray migration inspect`.",
      });
    }
    const { journal, stop } = running;
    if (isTooLateToCancel(journal.record)) throw new DrayError("TOO_LATE", `migration ${id} is past its commit`);
    if (journal.record.phase === "abort") return journal.record;
    // In memory first: nothing may pass the commit between this look and the order to stop.
    stop.abort(new DrayError("CANCELLED", "the migration was cancelled"));
    await journal.write("cancel", { cancelRequested: true });
    return journal.record;
  }

  async #takeBack(id: string): Promise<MigrationRecord> {
    const { etcd, leadership, view, events } = this.#options;
    await view.refresh(leadership.lost);
    const record = await takeBack(
      {
        etcd,
        leadership,
        isUp: (node) => view.nodes().some(({ record, state }) => record.name === node && state !== "down"),
        inventory: () => view.containers(),
      },
      id,
    );
    events.add({
      type: "migration.taken-back",
      node: record.source,
      container: record.container,
      migrationId: record.id,
      message: `${record.container}: its copy on ${record.destination} was given up; ${record.source} has it again`,
    });
    this.#run(record, null);
    return record;
  }

  /** Waits until every saga has ended or has been left to the next leader. */
  async settled(): Promise<void> {
    await Promise.all([...this.#running.values()].map(({ ended }) => ended));
  }

  #run(record: MigrationRecord, description: SourceDescription | null): void {
    const { coordinator, etcd, leadership, agents, events, metrics, logger, times } = this.#options;
    const journal = new Journal(etcd, leadership, this.feed, record);
    const stop = new AbortController();
    const leftMs = Math.max(0, record.startedAtMs + record.timeoutMs - Date.now());
    const timer = setTimeout(() => stop.abort(timeoutError(record.timeoutMs)), Math.min(leftMs, 2 ** 31 - 1));
    metrics.migrationsInProgress.inc({ role: "coordinator" });
    const context = {
      coordinator,
      etcd,
      leadership,
      agents,
      journal,
      events,
      metrics,
      logger,
      times,
      description,
      stop: stop.signal,
    };
    const ended = runMigration(context)
      .catch((thrown: unknown) => logger.error({ err: thrown, migration_id: record.id }, "a saga ended unexpectedly"))
      .finally(() => {
        clearTimeout(timer);
        metrics.migrationsInProgress.dec({ role: "coordinator" });
        this.#running.delete(record.id);
        this.feed.forget(record.id);
        return this.#pruneIfLeading();
      });
    this.#running.set(record.id, { journal, stop, ended });
  }

  /** A failure is not the migration's: the next end tries again. */
  async #pruneIfLeading(): Promise<void> {
    const { leadership, logger } = this.#options;
    if (leadership.lost.aborted) return;
    await this.#prune().catch((thrown: unknown) => logger.warn({ err: thrown }, "old migrations were not removed"));
  }

  /** All records that can be read: one of another version must not keep every leader from leading. */
  async #stored(): Promise<Stored<MigrationRecord>[]> {
    const { etcd, leadership, logger } = this.#options;
    const { entries } = await etcd.getPrefix(keys.migrations(), { signal: leadership.lost });
    return entries.flatMap((entry) => {
      try {
        return [decodeRecord(MigrationRecord, entry)];
      } catch (thrown) {
        logger.error({ err: thrown, key: entry.key }, "the record of a migration cannot be read; it is left alone");
        return [];
      }
    });
  }

  async #mayBeTakenBack(record: MigrationRecord): Promise<boolean> {
    if (record.outcome !== "failed") return false;
    const { etcd, leadership } = this.#options;
    const owner = await readOwner(etcd, record.containerUuid, { signal: leadership.lost });
    return canBeTakenBack(record, owner?.record ?? null);
  }

  /** Removes the migrations that are not kept any more, with their request keys. */
  async #prune(): Promise<void> {
    const { etcd, leadership } = this.#options;
    for (const { key, record } of beyondKept(await this.#stored())) {
      if (await this.#mayBeTakenBack(record)) continue;
      const success: Operation[] = [{ do: "delete", key }];
      if (record.requestId !== "") success.push({ do: "delete", key: keys.request(record.requestId) });
      await etcd.txn({ compare: leadership.guard, success }, { signal: leadership.lost });
    }
  }
}

function timeoutError(timeoutMs: number): DrayError {
  return new DrayError("TIMEOUT", `the migration took longer than ${timeoutMs / 1000} s`);
}
