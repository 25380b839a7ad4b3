/** Commands of the host: argv arrays, deadlines, bounded output. */

export interface CommandOptions {
  readonly signal?: AbortSignal | undefined;
  /** Default 30 s. */
  readonly deadlineMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly stdin?: string | Uint8Array;
  /** Exit codes that are no error. Default [0]. */
  readonly okCodes?: readonly number[];
}

export interface CommandResult {
  readonly code: number;
  /** The first MiB, UTF-8. */
  readonly stdout: string;
  /** The last 64 KiB, UTF-8. */
  readonly stderr: string;
}

/** Throws DrayError COMMAND_FAILED, TIMEOUT or CANCELLED; the process is dead then. */
export declare function runCommand(argv: readonly string[], options?: CommandOptions): Promise<CommandResult>;
