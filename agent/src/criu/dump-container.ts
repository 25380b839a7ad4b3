import type { DumpStats } from "./dump-stats.ts";

export interface DumpOptions {
  /** Docker id, 64 hex digits. The container is paused by Docker already. */
  readonly dockerId: string;
  readonly migrationId: string;
  /** Where the images go; created, 0700. */
  readonly imageDirectory: string;
  /** Where dump.log and stats-dump go; created, 0700. */
  readonly workDirectory: string;
  /** Default /run/docker/runtime-runc/moby. */
  readonly runcRoot?: string;
  /** Default "runc" on the PATH. */
  readonly runcPath?: string;
  /** Largest deleted file that is carried, bytes. Default 1 GiB. */
  readonly ghostLimitBytes?: number;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

export interface DumpResult {
  readonly stats: DumpStats;
  /** Boot-time clock at which the frozen container was verified after the dump, milliseconds. */
  readonly frozenAtMs: number;
}

/**
 * Dumps a paused container through runc and CRIU. On return it is frozen
 * again (verified), on success as on failure.
 *
 * Throws DrayError CRIU_DUMP_FAILED (the line that matters, its meaning and
 * remedy), FREEZE_FAILED (it could not be verified frozen), TIMEOUT, CANCELLED.
 */
export declare function dumpContainer(options: DumpOptions): Promise<DumpResult>;
