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

/** CRIU puts the time, a pid in a restore, and the severity before the message. */
const ERROR_LINE = /^\(\d+\.\d+\)\s+(?:\d+:\s+)?Error\b|level=error|^Error\b|\berror\b.*criu|"level":"error"/i;

/**
 * The cause that explains a failed run best: that of the first line which a
 * known cause matches, in the order of the causes; otherwise the first error,
 * since later ones follow from it. Null if the log holds no error.
 */
export function diagnose(log: string): Diagnosis | null {
  const lines = log.split("\n").map((line) => line.trim());
  for (const { code, pattern, meaning, remedy } of CAUSES) {
    const line = lines.find((candidate) => pattern.test(candidate));
    if (line !== undefined) return { code, line, meaning, remedy };
  }
  const first = lines.find((line) => ERROR_LINE.test(line));
  if (first === undefined) return null;
  return {
    code: "unknown",
    line: first,
    meaning: "CRIU failed",
    remedy: "The whole log is kept on the node named above; the line tells which resource CRIU could not handle.",
  };
}
