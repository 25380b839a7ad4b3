/** What a node must meet to take a container, before its agent is asked. Pure; each refusal explains itself. */
import type { ClusterNode } from "../cluster/view.ts";
import { type Constraint, holds, showConstraint } from "./constraint.ts";

export interface PlacementTask {
  readonly source: string;
  readonly architecture: string;
  /** What the container's memory will take on the destination. */
  readonly memoryBytes: number;
  readonly constraints: readonly Constraint[];
}

export interface PlacementFilter {
  readonly name: string;
  check(task: PlacementTask, node: ClusterNode): boolean;
  /** Why `check` was false: one sentence part, about the node. */
  explain(task: PlacementTask, node: ClusterNode): string;
}

/** Name of the filter that refuses where the container is. */
export const IS_SOURCE = "source";

/** In this order; the first that refuses explains. */
export const FILTERS: readonly PlacementFilter[] = [
  {
    name: IS_SOURCE,
    check: (task, node) => node.record.name !== task.source,
    explain: () => "the container is already there",
  },
  {
    name: "ready",
    check: (_task, node) => node.state === "ready",
    explain: (_task, node) => (node.state === "down" ? "the node is down" : node.record.problems.join("; ")),
  },
  {
    name: "architecture",
    check: (task, node) => node.record.host.architecture === task.architecture,
    explain: (task, node) => `it is ${node.record.host.architecture}, the container needs ${task.architecture}`,
  },
  {
    name: "constraint",
    check: (task, node) => task.constraints.every((constraint) => holds(constraint, node.record)),
    explain: (task, node) =>
      task.constraints
        .filter((constraint) => !holds(constraint, node.record))
        .map((constraint) => `${showConstraint(constraint)} does not hold`)
        .join("; "),
  },
  {
    name: "memory",
    check: (task, node) => node.record.memoryAvailableBytes >= task.memoryBytes,
    explain: (task, node) =>
      `${mebibytes(node.record.memoryAvailableBytes)} MiB of memory are available, ${mebibytes(task.memoryBytes)} MiB are needed`,
  },
];

function mebibytes(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}
