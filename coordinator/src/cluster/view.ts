/** Nodes, containers, owners, migrations and candidates as etcd has them, in memory. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { notFound } from "@drayage/shared/errors/not-found.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import type { Stored } from "@drayage/shared/etcd/records.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { MigrationRecord } from "@drayage/shared/state/migration.ts";
import { InventoryRecord, KnownNodeRecord, NodeRecord } from "@drayage/shared/state/node.ts";
import { OwnerRecord } from "@drayage/shared/state/owner.ts";
import { CandidateRecord } from "../election/candidate.ts";
import { Mirror } from "./mirror.ts";
import { ownedOnly, resolveContainer } from "./resolve.ts";

export type NodeState = "ready" | "unhealthy" | "down";

export interface ClusterNode {
  readonly record: NodeRecord;
  readonly state: NodeState;
  /** Since the Unix epoch, of a node that is down; else null. */
  readonly lastSeenMs: number | null;
}

export interface Leader extends CandidateRecord {
  readonly term: number;
}

export type NodeListener = (node: NodeRecord, state: NodeState | "forgotten", before: NodeState | null) => void;

export class ClusterView {
  readonly #nodes: Mirror<typeof NodeRecord>;
  /** Also those that are down. */
  readonly #known: Mirror<typeof KnownNodeRecord>;
  readonly #inventory: Mirror<typeof InventoryRecord>;
  readonly #owners: Mirror<typeof OwnerRecord>;
  readonly #migrations: Mirror<typeof MigrationRecord>;
  readonly #candidates: Mirror<typeof CandidateRecord>;
  readonly #nodeListeners = new Set<NodeListener>();
  /** By the names of nodes that were up and are down: when this coordinator saw it, by performance.now and since the Unix epoch. */
  readonly #lost = new Map<string, { readonly atMs: number; readonly lastSeenMs: number }>();

  constructor(etcd: EtcdPort, logger: Logger) {
    this.#nodes = new Mirror(etcd, NodeRecord, keys.nodes(), logger, (_key, now, before) =>
      this.#nodeChanged(now, before),
    );
    this.#known = new Mirror(etcd, KnownNodeRecord, keys.knownNodes(), logger, (_key, now, before) => {
      if (now === null && before !== null) this.#tell(before.record.node, "forgotten", "down");
    });
    this.#inventory = new Mirror(etcd, InventoryRecord, keys.inventories(), logger);
    this.#owners = new Mirror(etcd, OwnerRecord, keys.owners(), logger);
    this.#migrations = new Mirror(etcd, MigrationRecord, keys.migrations(), logger);
    this.#candidates = new Mirror(etcd, CandidateRecord, keys.election(), logger);
  }

  /** Keeps the view until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#mirrors().map((mirror) => mirror.run(signal)));
  }

  /**
   * Reads nodes, containers and owners anew: what is answered after this is no older than the call, also while a watch
   * is behind. ETCD_UNAVAILABLE.
   */
  async refresh(signal: AbortSignal): Promise<void> {
    const mirrors = [this.#nodes, this.#known, this.#inventory, this.#owners];
    await Promise.all(mirrors.map((mirror) => mirror.refresh(signal)));
  }

  /** The same for who leads. */
  async refreshLeader(signal: AbortSignal): Promise<void> {
    await this.#candidates.refresh(signal);
  }

  /** Whether a node was lost less than `forMs` ago, and is not back: it may be, and with it what it has. */
  hasJustLost(forMs: number): boolean {
    const sinceMs = performance.now() - forMs;
    return [...this.#lost.values()].some(({ atMs }) => atMs > sinceMs);
  }

  /** Resolves when everything has been read once. */
  async loaded(): Promise<void> {
    await Promise.all(this.#mirrors().map((mirror) => mirror.loaded));
  }

  /** By name. */
  nodes(): ClusterNode[] {
    const up = this.#nodes.values().map(({ record }) => ({ record, state: stateOf(record), lastSeenMs: null }));
    const down = this.#known
      .values()
      .filter(({ record }) => this.#nodes.get(keys.node(record.node.name)) === undefined)
      .map(({ record: { node, lastSeenMs } }) => ({
        record: node,
        state: "down" as const,
        // The leader that would have written it down may have died with it.
        lastSeenMs: Math.max(lastSeenMs, this.#lost.get(node.name)?.lastSeenMs ?? 0),
      }));
    return [...up, ...down].sort((one, other) => one.record.name.localeCompare(other.record.name));
  }

  /** NOT_FOUND if there is none of this name. */
  node(name: string): ClusterNode {
    const found = this.nodes().find((node) => node.record.name === name);
    if (found === undefined) throw notFound("node", name);
    return found;
  }

  addressesOf(node: string): readonly string[] {
    return this.#nodes.get(keys.node(node))?.record.addresses ?? [];
  }

  /** One entry for each container, the owner's. */
  containers(): InventoryRecord[] {
    return ownedOnly(
      this.#inventory.values().map(({ record }) => record),
      (uuid) => this.owner(uuid),
    );
  }

  /** See resolveContainer. */
  resolve(text: string): InventoryRecord {
    return resolveContainer(
      text,
      this.#inventory.values().map(({ record }) => record),
      (uuid) => this.owner(uuid),
    );
  }

  owner(uuid: string): OwnerRecord | undefined {
    return this.#owners.get(keys.owner(uuid))?.record;
  }

  /** Newest first. */
  migrations(): MigrationRecord[] {
    return this.#migrations
      .values()
      .sort((one, other) => other.createRevision - one.createRevision)
      .map(({ record }) => record);
  }

  /** By id or unique prefix. NOT_FOUND, AMBIGUOUS. */
  migration(text: string): MigrationRecord {
    const found = text === "" ? [] : this.migrations().filter((record) => record.id.startsWith(text));
    const [first] = found;
    if (first === undefined) throw notFound("migration", text);
    if (found.length === 1) return first;
    const exact = found.find((record) => record.id === text);
    if (exact !== undefined) return exact;
    throw new DrayError("AMBIGUOUS", `${JSON.stringify(text)} may be ${found.map((record) => record.id).join(", ")}`);
  }

  /** Id of the container's migration under way; empty if none. */
  activeMigrationOf(uuid: string): string {
    return (
      this.#migrations.values().find(({ record }) => record.containerUuid === uuid && record.phase !== "done")?.record
        .id ?? ""
    );
  }

  /** Who leads, by what etcd says; undefined if nobody does. */
  leader(): Leader | undefined {
    const [first] = this.#candidates.values().sort((one, other) => one.createRevision - other.createRevision);
    return first === undefined ? undefined : { ...first.record, term: first.createRevision };
  }

  /** Coordinators that are up. */
  candidates(): CandidateRecord[] {
    return this.#candidates.values().map(({ record }) => record);
  }

  /** Tells of nodes that change their state or are forgotten. Returns the way to stop. */
  onNodeState(listener: NodeListener): () => void {
    this.#nodeListeners.add(listener);
    return () => this.#nodeListeners.delete(listener);
  }

  #mirrors(): readonly { run(signal: AbortSignal): Promise<void>; readonly loaded: Promise<void> }[] {
    return [this.#nodes, this.#known, this.#inventory, this.#owners, this.#migrations, this.#candidates];
  }

  #nodeChanged(now: Stored<NodeRecord> | null, before: Stored<NodeRecord> | null): void {
    const record = now?.record ?? before?.record;
    if (record === undefined) return;
    if (now === null) this.#lost.set(record.name, { atMs: performance.now(), lastSeenMs: Date.now() });
    else this.#lost.delete(record.name);
    const isKnown = this.#known.get(keys.knownNode(record.name)) !== undefined;
    const was = before === null ? (isKnown ? ("down" as const) : null) : stateOf(before.record);
    const is = now === null ? ("down" as const) : stateOf(now.record);
    if (is !== was) this.#tell(record, is, was);
  }

  #tell(record: NodeRecord, is: NodeState | "forgotten", was: NodeState | null): void {
    for (const listener of this.#nodeListeners) listener(record, is, was);
  }
}

function stateOf(record: NodeRecord): NodeState {
  return record.problems.length === 0 ? "ready" : "unhealthy";
}
