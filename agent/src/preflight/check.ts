/** A check is an entry in a list: what it finds in facts that were gathered before. Pure. */
import { blocking, type Finding, needsFlag, note, type Words } from "./finding.ts";

export interface Check<Facts> {
  /** Stable, kebab case. */
  readonly code: string;
  /** "blocking", "note", or the flag of `dray migrate` that accepts it ("--allow-…"). */
  readonly severity: "blocking" | "note" | `--allow-${string}`;
  /** One for each thing found; empty if all is well. */
  find(facts: Facts): readonly Words[];
}

export function runChecks<Facts>(checks: readonly Check<Facts>[], facts: Facts): Finding[] {
  return checks.flatMap(({ code, severity, find }) =>
    find(facts).map((words) => {
      if (severity === "blocking") return blocking(code, words);
      return severity === "note" ? note(code, words) : needsFlag(code, severity, words);
    }),
  );
}

/** For a check that finds at most one thing. */
export function when(found: boolean, message: string, remedy: string): readonly Words[] {
  return found ? [{ message, remedy }] : [];
}
