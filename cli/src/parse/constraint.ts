/** Placement constraints, checked before they are sent: node.labels.zone==b. */
import { usageError } from "./usage-error.ts";

export function parseConstraint(text: string): string {
  const match = /^\s*(node\.(?:name|labels\.[^\s=!]+))\s*(==|!=)\s*(\S+)\s*$/.exec(text);
  if (!match) {
    throw usageError(
      `"${text}" is not a constraint`,
      "Write node.name==NAME, node.labels.KEY==VALUE, or the same with !=.",
    );
  }
  return `${match[1]}${match[2]}${match[3]}`;
}
