/** Constraints on nodes as people write them: `node.labels.zone==b`, `node.name!=n1`. Pure. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { NodeRecord } from "@drayage/shared/state/node.ts";

export interface Constraint {
  /** Label name, or null for the node's name. */
  readonly label: string | null;
  readonly equal: boolean;
  readonly value: string;
}

const FORM = /^\s*node\.(?:labels\.([\w./-]+?)|(name))\s*(==|!=)\s*(.*?)\s*$/;

/** BAD_REQUEST if it is no constraint. */
export function parseConstraint(text: string): Constraint {
  const match = FORM.exec(text);
  if (match === null) {
    throw new DrayError("BAD_REQUEST", `${JSON.stringify(text)} is no constraint`, {
      remedy: "Write it like node.labels.zone==b, node.labels.zone!=b or node.name!=n1.",
    });
  }
  return { label: match[1] ?? null, equal: match[3] === "==", value: match[4] ?? "" };
}

/** A label that a node lacks is unequal to every value. */
export function holds(constraint: Constraint, node: NodeRecord): boolean {
  const found = constraint.label === null ? node.name : node.labels[constraint.label];
  return (found === constraint.value) === constraint.equal;
}

export function showConstraint(constraint: Constraint): string {
  const left = constraint.label === null ? "node.name" : `node.labels.${constraint.label}`;
  return `${left}${constraint.equal ? "==" : "!="}${constraint.value}`;
}
