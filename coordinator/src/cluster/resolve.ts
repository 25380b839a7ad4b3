/** From what a person typed to one container. Pure. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { notFound } from "@drayage/shared/errors/not-found.ts";
import type { InventoryRecord } from "@drayage/shared/state/node.ts";
import type { OwnerRecord } from "@drayage/shared/state/owner.ts";

const SHORTEST_PREFIX = 2;

/**
 * The container with this UUID, Docker id or name, or else the one whose UUID
 * or Docker id begins so. In a migration both nodes list the container: the
 * owner's entry counts. NOT_FOUND; AMBIGUOUS with the candidates.
 */
export function resolveContainer(
  text: string,
  inventory: readonly InventoryRecord[],
  ownerOf: (uuid: string) => OwnerRecord | undefined,
): InventoryRecord {
  const word = text.startsWith("/") ? text.slice(1) : text;
  const exact = inventory.filter((entry) => entry.uuid === word || entry.dockerId === word || entry.name === word);
  const found = exact.length > 0 || word.length < SHORTEST_PREFIX ? exact : byPrefix(word, inventory);
  const containers = ownedOnly(found, ownerOf);
  const [first] = containers;
  if (first === undefined) throw notFound("container", text);
  if (containers.length === 1) return first;
  const list = containers.map((entry) => `${entry.name} (${entry.uuid.slice(0, 12)} on ${entry.node})`).join(", ");
  throw new DrayError("AMBIGUOUS", `${JSON.stringify(text)} may be ${list}`);
}

function byPrefix(word: string, inventory: readonly InventoryRecord[]): InventoryRecord[] {
  const lower = word.toLowerCase();
  return inventory.filter((entry) => entry.uuid.startsWith(lower) || entry.dockerId.startsWith(lower));
}

/** One entry for each UUID: the owner's, else that of a running container, else the first. */
export function ownedOnly(
  found: readonly InventoryRecord[],
  ownerOf: (uuid: string) => OwnerRecord | undefined,
): InventoryRecord[] {
  const byUuid = new Map<string, InventoryRecord[]>();
  for (const entry of found) byUuid.set(entry.uuid, [...(byUuid.get(entry.uuid) ?? []), entry]);
  return [...byUuid.entries()].flatMap(([uuid, entries]) => {
    const owner = ownerOf(uuid)?.node;
    const chosen =
      entries.find((entry) => entry.node === owner) ?? entries.find((entry) => entry.state === "running") ?? entries[0];
    return chosen === undefined ? [] : [chosen];
  });
}
