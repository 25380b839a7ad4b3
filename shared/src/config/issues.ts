/** Turns a schema's complaints into one error that says where, what, and what to do. Pure. */
import type { z } from "zod";
import { DrayError } from "../errors/dray-error.ts";
import { environmentName } from "./environment.ts";

export function describeIssues(
  issues: readonly z.core.$ZodIssue[],
  knownKeys: readonly string[],
  placeOf: (key: string) => string,
): DrayError {
  const lines: string[] = [];
  const remedies: string[] = [];
  for (const issue of issues) {
    if (issue.code === "unrecognized_keys" && issue.path.length === 0) {
      for (const key of issue.keys) {
        lines.push(`${placeOf(key)}: unknown key ${key}`);
        remedies.push(unknownRemedy(key, knownKeys));
      }
      continue;
    }
    const key = String(issue.path[0] ?? "");
    if (isMissing(issue)) {
      lines.push(`${placeOf(key)}: ${key} is missing`);
      remedies.push(`Add ${key}, or set ${environmentName(key)}.`);
    } else {
      lines.push(`${placeOf(key)}: ${pathText(issue.path)}: ${issue.message}`);
      remedies.push(`Correct ${key}.`);
    }
  }
  return new DrayError("BAD_CONFIG", lines.join("; "), { remedy: [...new Set(remedies)].join(" ") });
}

function isMissing(issue: z.core.$ZodIssue): boolean {
  return issue.code === "invalid_type" && issue.path.length === 1 && issue.message.endsWith("received undefined");
}

function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((part, index) => (typeof part === "number" ? `[${part}]` : `${index === 0 ? "" : "."}${String(part)}`))
    .join("");
}

function unknownRemedy(key: string, knownKeys: readonly string[]): string {
  const nearest = knownKeys
    .map((known) => ({ known, distance: editDistance(key.toLowerCase(), known.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)[0];
  if (nearest !== undefined && nearest.distance <= Math.max(2, key.length / 3)) {
    return `Write ${nearest.known} instead of ${key}.`;
  }
  return `Remove ${key}; known keys are ${knownKeys.join(", ")}.`;
}

/** Levenshtein distance. */
export function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
