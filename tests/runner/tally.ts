/** Counting what passed and what failed, and saying what. Pure. */

export interface Failure {
  /** Part of the run it belongs to: `unit`, `e2e forky`. */
  readonly part: string;
  /** Relative to the repository; empty for what is no file's fault. */
  readonly file: string;
  /** Whole name of the test; for a hook or a file that did not load, what of it. */
  readonly name: string;
  readonly message: string;
}

export interface Tally {
  readonly passed: number;
  readonly skipped: number;
  readonly failures: readonly Failure[];
}

/** What the reporter says of one run of vitest. */
export interface Report {
  readonly passed: number;
  readonly skipped: number;
  readonly failures: readonly Omit<Failure, "part">[];
}

export const NOTHING: Tally = { passed: 0, skipped: 0, failures: [] };

const MESSAGE_LINES_MAX = 8;
const LINE_CHARACTERS_MAX = 240;

export function add(a: Tally, b: Tally): Tally {
  return {
    passed: a.passed + b.passed,
    skipped: a.skipped + b.skipped,
    failures: [...a.failures, ...b.failures],
  };
}

/** The closing line; scripts read it. */
export function closingLine({ passed, failures }: Tally): string {
  return `${passed} passed, ${failures.length} failed`;
}

/** One failure that is no test's: the part itself, or something that ran it. */
export function failureOf(part: string, message: string): Tally {
  return { passed: 0, skipped: 0, failures: [{ part, file: "", name: "", message }] };
}

/** An exit code that nothing in the report explains is a failure, and so is a missing report. */
export function tallyOf(part: string, report: Report | undefined, exitCode: number): Tally {
  if (report === undefined) return failureOf(part, `vitest ended with ${exitCode} and left no report`);
  const { passed, skipped } = report;
  const tally = { passed, skipped, failures: report.failures.map((failure) => ({ part, ...failure })) };
  if (exitCode === 0 || tally.failures.length > 0) return tally;
  return add(tally, failureOf(part, `vitest ended with ${exitCode}, which no test explains`));
}

/**
 * What failed, to be read where only the end of the output is kept: where, which test, and the first lines of why.
 */
export function failureLines({ failures }: Tally): string[] {
  return failures.flatMap(({ part, file, name, message }) => [
    ["FAILED", part, file, name].filter((word) => word !== "").join("  "),
    ...message
      .split("\n")
      .filter((line) => line.trim() !== "")
      .slice(0, MESSAGE_LINES_MAX)
      .map((line) => `    ${line.slice(0, LINE_CHARACTERS_MAX)}`),
  ]);
}
