import type { RuntimeGate } from "./runtime-gate.ts";

export interface RuntimeGateOptions {
  /** Directory of restore records; the path is compiled into drayage-runc. */
  readonly recordDirectory?: string;
  /** Directory of the sessions' files. */
  readonly sessionDirectory?: string;
  /** Socket on which drayage-runc asks. */
  readonly socketPath?: string;
  /** drayage-runc itself; CRIU's action script and the network hook are links to it. */
  readonly runtimePath?: string;
  /** The real runc. */
  readonly runcPath?: string;
  /** Told of what goes wrong beside a caller. */
  readonly onProblem?: (message: string, cause: unknown) => void;
}

/** Rebuilds the sessions from the records and listens for drayage-runc. */
export declare function openRuntimeGate(options?: RuntimeGateOptions): Promise<RuntimeGate>;
