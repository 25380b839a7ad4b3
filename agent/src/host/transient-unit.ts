import type { CommandOptions, CommandResult } from "./run-command.ts";

export interface TransientUnitOptions extends CommandOptions {
  /** Name of the unit without suffix, for example "drayage-dump-<migration>". */
  readonly unit: string;
}

/**
 * Runs a command as a systemd service of its own: it is no child of the agent
 * and outlives it. The signal and the deadline stop the unit.
 */
export declare function runTransientUnit(argv: readonly string[], options: TransientUnitOptions): Promise<CommandResult>;

/** Stops a unit left over by an earlier process of the agent; nothing to do if there is none. */
export declare function stopTransientUnit(unit: string): Promise<void>;
