/** The records of one node in etcd, under one lease. */
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import type { Lease } from "@drayage/shared/etcd/guarded-lease.ts";
import { encodeRecord } from "@drayage/shared/etcd/records.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { InventoryRecord, NodeRecord } from "@drayage/shared/state/node.ts";
import { inventoryChanges } from "./inventory.ts";

/** A member of etcd that hangs costs a write so much before it is tried again, perhaps at another. */
const WRITE_MS = 1_000;

export class Publication {
  readonly #etcd: EtcdPort;
  readonly #node: string;
  readonly #lease: Lease;
  /** JSON by Docker id: what etcd has by all that is known here. */
  readonly #inventory = new Map<string, string>();
  #nodeValue = "";

  constructor(etcd: EtcdPort, node: string, lease: Lease) {
    this.#etcd = etcd;
    this.#node = node;
    this.#lease = lease;
  }

  /** Reads what etcd has instead of remembering it: a write that was given up may land all the same, and late. */
  async lookAgain(signal: AbortSignal): Promise<void> {
    const prefix = keys.inventoryOf(this.#node);
    const [inventory, node] = await Promise.all([
      this.#etcd.getPrefix(prefix, { signal }),
      this.#etcd.get(keys.node(this.#node), { signal }),
    ]);
    this.#inventory.clear();
    for (const { key, value, leaseId } of inventory.entries) {
      // What hangs on an earlier lease goes with it.
      if (leaseId === this.#lease.id) this.#inventory.set(key.slice(prefix.length), value);
    }
    this.#nodeValue = node?.leaseId === this.#lease.id ? node.value : "";
  }

  /** Makes etcd show these containers and no others. */
  async putInventory(records: readonly InventoryRecord[], signal: AbortSignal): Promise<void> {
    const changes = inventoryChanges(this.#inventory, records);
    for (const record of changes.put) {
      const value = encodeRecord(InventoryRecord, record);
      await this.#put(keys.inventory(this.#node, record.dockerId), value, signal);
      this.#inventory.set(record.dockerId, value);
    }
    for (const dockerId of changes.remove) {
      await this.#etcd.delete(keys.inventory(this.#node, dockerId), { signal, deadlineMs: WRITE_MS });
      this.#inventory.delete(dockerId);
    }
  }

  async putNode(record: NodeRecord, signal: AbortSignal): Promise<void> {
    const value = encodeRecord(NodeRecord, record);
    if (value === this.#nodeValue) return;
    await this.#put(keys.node(this.#node), value, signal);
    this.#nodeValue = value;
  }

  async #put(key: string, value: string, signal: AbortSignal): Promise<void> {
    await this.#etcd.put(key, value, { leaseId: this.#lease.id, signal, deadlineMs: WRITE_MS });
  }
}
