/** The inventory records of this host's containers. Pure, but for the identities. */
import type { InventoryRecord } from "@drayage/shared/state/node.ts";
import type { ContainerSummary } from "../docker/types.ts";

/** What Docker's list says of a container, as the cluster sees it. `runtime` is not in Docker's list. */
export function inventoryRecord(
  node: string,
  uuid: string,
  summary: ContainerSummary,
  runtime: string,
): InventoryRecord {
  const networks = Object.entries(summary.NetworkSettings?.Networks ?? {});
  return {
    uuid,
    dockerId: summary.Id,
    name: (summary.Names[0] ?? "").replace(/^\//, ""),
    node,
    image: summary.Image,
    state: summary.State,
    runtime,
    addresses: Object.fromEntries(
      networks.flatMap(([name, { IPAddress }]) =>
        IPAddress === undefined || IPAddress === "" ? [] : [[name, IPAddress]],
      ),
    ),
  };
}

export interface InventoryChanges {
  readonly put: readonly InventoryRecord[];
  /** Docker ids. */
  readonly remove: readonly string[];
}

/** What must be written so that etcd shows `now`; `published` is JSON by Docker id. */
export function inventoryChanges(
  published: ReadonlyMap<string, string>,
  now: readonly InventoryRecord[],
): InventoryChanges {
  const ids = new Set(now.map(({ dockerId }) => dockerId));
  return {
    put: now.filter((record) => published.get(record.dockerId) !== JSON.stringify(record)),
    remove: [...published.keys()].filter((dockerId) => !ids.has(dockerId)),
  };
}
