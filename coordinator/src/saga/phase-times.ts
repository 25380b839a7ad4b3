import type { PhaseTimeRecord } from "@drayage/shared/state/migration.ts";

/** Times with those of an agent's steps added; an agent may tell of the same ones in several answers. */
export function withSteps(times: readonly PhaseTimeRecord[], steps: readonly PhaseTimeRecord[]): PhaseTimeRecord[] {
  const keyOf = ({ node, name, startedAtMs }: PhaseTimeRecord) => `${node} ${name} ${startedAtMs}`;
  const known = new Set(times.map(keyOf));
  return [...times, ...steps.filter((step) => !known.has(keyOf(step)))];
}
