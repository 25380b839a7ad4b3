/** What the lab throws on purpose: a sentence, what to do about it, and the exit code. */

/** Exit codes, the same as those of `dray`. */
export const EXIT = {
  failed: 1,
  usage: 2,
  notFound: 3,
  precondition: 4,
  unavailable: 5,
  timeout: 124,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export interface LabErrorOptions {
  readonly remedy?: string;
  readonly cause?: unknown;
}

export class LabError extends Error {
  readonly exitCode: ExitCode;
  readonly remedy: string | undefined;

  constructor(kind: keyof typeof EXIT, message: string, options: LabErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "LabError";
    this.exitCode = EXIT[kind];
    this.remedy = options.remedy;
  }
}

/** Whether an error means that the caller's signal was aborted. */
export function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === "AbortError";
}

/** Whether an error of the file system has the given code. */
export function hasCode(thrown: unknown, ...codes: string[]): boolean {
  return thrown instanceof Error && "code" in thrown && codes.includes(String(thrown.code));
}
