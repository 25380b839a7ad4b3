/** What a line in a log of CRIU or runc means, and what to do about it. */
import { CAUSES } from "./causes.ts";

export interface Diagnosis {
  /** Stable name of the cause, for example "io_uring". */
  readonly code: string;
  /** The line that matters, as logged. */
  readonly line: string;
  readonly meaning: string;
  readonly remedy: string;
}

/** CRIU puts the time, in a restore a pid, and for errors and warnings the severity before the message. */
const CRIU_LINE = /^\(\d+\.\d+\)/;
const CRIU_ERROR = /^\(\d+\.\d+\)\s+(?:\d+:\s+)?Error\b/;
const CRIU_WARNING = /^\(\d+\.\d+\)\s+(?:\d+:\s+)?Warn\b/;

/** Logged as an error, though CRIU goes on: without CAP_SYS_RESOURCE it keeps the limit that it has. */
const HARMLESS = /rlimit: Can't setup RLIMIT_NOFILE for self/;

/**
 * The cause that explains a failed run best. Errors follow from earlier ones,
 * so the first that is known counts; then what others than CRIU said; then a
 * warning that is known; then the first error, known or not. Null if the log
 * holds no error.
 */
export function diagnose(log: string): Diagnosis | null {
  const lines = log
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  const errors = lines.filter((line) => CRIU_ERROR.test(line) && !HARMLESS.test(line));
  const others = lines.filter((line) => !CRIU_LINE.test(line));
  const warnings = lines.filter((line) => CRIU_WARNING.test(line));
  return firstKnown(errors) ?? firstKnown(others) ?? firstKnown(warnings) ?? unknown(errors[0]);
}

function firstKnown(lines: readonly string[]): Diagnosis | null {
  for (const line of lines) {
    const cause = CAUSES.find(({ pattern }) => pattern.test(line));
    if (cause !== undefined) return { code: cause.code, line, meaning: cause.meaning, remedy: cause.remedy };
  }
  return null;
}

function unknown(line: string | undefined): Diagnosis | null {
  if (line === undefined) return null;
  return {
    code: "unknown",
    line,
    meaning: "CRIU failed",
    remedy: "The line tells which resource CRIU could not handle.",
  };
}
