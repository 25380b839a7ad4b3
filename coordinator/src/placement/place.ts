/** Orders the nodes that may take a container, and says why the others may not. Pure. */
import type { ClusterNode } from "../cluster/view.ts";
import { FILTERS, type PlacementTask } from "./filters.ts";

export interface Refusal {
  readonly node: string;
  readonly filter: string;
  readonly why: string;
}

export interface Placement {
  /** Best first. */
  readonly candidates: readonly ClusterNode[];
  readonly refusals: readonly Refusal[];
}

export function place(task: PlacementTask, nodes: readonly ClusterNode[]): Placement {
  const refusals: Refusal[] = [];
  const candidates = nodes.filter((node) => {
    const refusing = FILTERS.find((filter) => !filter.check(task, node));
    if (refusing !== undefined)
      refusals.push({ node: node.record.name, filter: refusing.name, why: refusing.explain(task, node) });
    return refusing === undefined;
  });
  return { candidates: candidates.sort(bySpread), refusals };
}

/** Fewest running containers first, then most memory available, then by name. */
function bySpread(one: ClusterNode, other: ClusterNode): number {
  return (
    one.record.runningContainers - other.record.runningContainers ||
    other.record.memoryAvailableBytes - one.record.memoryAvailableBytes ||
    one.record.name.localeCompare(other.record.name)
  );
}

export function showRefusals(refusals: readonly Refusal[]): string {
  return refusals.map(({ node, why }) => `${node}: ${why}`).join("; ");
}
