/** All migrations that this agent has a part in, by id; built from the journal at the start. */
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Order, ReserveRequest, SyncRequest } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { isEnded } from "../journal/entry.ts";
import type { AgentHost } from "./agent-host.ts";
import { DestinationMigration } from "./destination-migration.ts";
import { SourceMigration } from "./source-migration.ts";
import type { TermGuard } from "./term-guard.ts";
import { sweepTransitMounts } from "../tmpfs/transit-mounts.ts";
import { sweepTransitDirectories, transitOptionsOf } from "./transit-directory.ts";

type AnyMigration = SourceMigration | DestinationMigration;
type Kind<T extends AnyMigration> = (migration: AnyMigration) => migration is T;
const isSource: Kind<SourceMigration> = (migration) => migration instanceof SourceMigration;
const isDestination: Kind<DestinationMigration> = (migration) => migration instanceof DestinationMigration;

export class Migrations {
  private readonly host: AgentHost;
  private readonly terms: TermGuard;
  /** Promises, so that two copies of one order find the same machine. */
  private readonly byId = new Map<string, Promise<AnyMigration>>();

  /** Called off before they began here. */
  private readonly refused = new Set<string>();

  constructor(host: AgentHost, terms: TermGuard) {
    this.host = host;
    this.terms = terms;
  }

  /** Takes up what the journal holds. Does not wait for verdicts. */
  async recover(): Promise<void> {
    await this.host.journal.prune(isEnded);
    const entries = await this.host.journal.readAll();
    const underWay = entries.filter((entry) => !isEnded(entry)).map(({ migrationId }) => migrationId);
    await sweepTransitDirectories(transitOptionsOf(this.host.config), underWay);
    await this.host.bars.keepOnly(underWay);
    await sweepTransitMounts(this.host.config, underWay).catch((thrown: unknown) =>
      this.host.logger.error({ err: toDrayError(thrown) }, "a tmpfs of an earlier migration is still mounted"),
    );
    for (const entry of entries) {
      const migration =
        entry.role === "source"
          ? SourceMigration.resume(this.host, entry)
          : DestinationMigration.resume(this.host, entry);
      this.byId.set(entry.migrationId, Promise.resolve(migration));
      if (!isEnded(entry)) this.host.metrics.migrationsInProgress.inc({ role: entry.role });
      migration.recover().catch((thrown: unknown) => {
        if (this.host.stopping.aborted) return;
        this.host.logger.error(
          { migration_id: entry.migrationId, err: toDrayError(thrown) },
          "recovery of a migration failed",
        );
      });
    }
  }

  /** Checks the term, and gives the migration id. */
  async admit(order: Order | undefined): Promise<string> {
    if (order === undefined || !/^[0-9a-f]{12}$/.test(order.migrationId)) {
      throw new DrayError("BAD_REQUEST", `"${order?.migrationId ?? ""}" is not a migration id (12 hex digits)`);
    }
    await this.terms.admit(order.term);
    return order.migrationId;
  }

  /** An order that comes after this one must not begin the migration: it has been called off. */
  refuse(migrationId: string): void {
    this.refused.add(migrationId);
  }

  /** ALREADY_MIGRATING while the container has not got all of its memory from the migration that brought it here. */
  async source(request: SyncRequest): Promise<SourceMigration> {
    for (const begun of this.byId.values()) {
      const migration = await begun.catch(() => undefined);
      if (migration === undefined || !isDestination(migration) || !migration.isPlacing(request.dockerId)) continue;
      throw new DrayError("ALREADY_MIGRATING", `migration ${migration.entry.migrationId} still brings its memory`, {
        node: this.host.node,
        remedy: "Wait until its memory is in its place, then migrate it again.",
      });
    }
    return await this.begin(request.order, isSource, () => SourceMigration.begin(this.host, request));
  }

  destination(request: ReserveRequest): Promise<DestinationMigration> {
    return this.begin(request.order, isDestination, () => DestinationMigration.begin(this.host, request));
  }

  /** The migration, or undefined if this agent has never heard of it. */
  async find(migrationId: string): Promise<AnyMigration | undefined> {
    return this.byId.get(migrationId);
  }

  async existingSource(migrationId: string): Promise<SourceMigration> {
    return this.demand(await this.find(migrationId), isSource, migrationId);
  }

  async existingDestination(migrationId: string): Promise<DestinationMigration> {
    return this.demand(await this.find(migrationId), isDestination, migrationId);
  }

  private async begin<T extends AnyMigration>(
    order: Order | undefined,
    kind: Kind<T>,
    create: () => Promise<T>,
  ): Promise<T> {
    const id = await this.admit(order);
    if (this.refused.has(id))
      throw new DrayError("CANCELLED", `migration ${id} has been called off`, { node: this.host.node });
    let known = this.byId.get(id);
    if (known === undefined) {
      known = create();
      this.byId.set(id, known);
      known.then(
        ({ entry }) => this.host.metrics.migrationsInProgress.inc({ role: entry.role }),
        () => undefined,
      );
      known.catch(() => this.byId.delete(id));
      this.prune();
    }
    return this.demand(await known, kind, id);
  }

  /** An agent that is never restarted must not keep what ended long ago. */
  private prune(): void {
    this.host.journal
      .prune(isEnded)
      .catch((thrown: unknown) => this.host.logger.warn({ err: toDrayError(thrown) }, "old journals were not removed"));
  }

  private demand<T extends AnyMigration>(migration: AnyMigration | undefined, kind: Kind<T>, id: string): T {
    if (migration !== undefined && kind(migration)) return migration;
    throw new DrayError("NOT_FOUND", `this agent has no such part in migration ${id}`, { node: this.host.node });
  }
}
