/** What a process needs before it can work, and whether it has it. Pure. */

/** Null when all is well, else why not. */
export type ReadinessCheck = () => string | null;

export interface Readiness {
  readonly ready: boolean;
  /** By name of the check; "ok" or why not. */
  readonly checks: Readonly<Record<string, string>>;
}

/** A check that throws counts as failed. */
export function evaluateReadiness(checks: Readonly<Record<string, ReadinessCheck>>): Readiness {
  const results = Object.entries(checks).map(([name, check]) => [name, run(check) ?? "ok"] as const);
  return { ready: results.every(([, result]) => result === "ok"), checks: Object.fromEntries(results) };
}

function run(check: ReadinessCheck): string | null {
  try {
    return check();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
