/** What a line in a log of CRIU or runc means, and what to do about it. */

export interface Diagnosis {
  /** Stable name of the cause, for example "io_uring". */
  readonly code: string;
  /** The line that matters, as logged. */
  readonly line: string;
  readonly meaning: string;
  readonly remedy: string;
}

/** The cause that explains a failed run best; null if the log holds no error. */
export declare function diagnose(log: string): Diagnosis | null;
