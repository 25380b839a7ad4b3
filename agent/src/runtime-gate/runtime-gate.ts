/**
 * The agent's end of drayage-runc: restore records, the held `create`, the
 * frozen prepared copy and the verdict that `start` waits for.
 *
 *   arm ─► armed ──release──► released ──start seen, copy verified──► prepared
 *            │                   │                                      │
 *            │ abort             │ abort                     abort ┌────┴────┐ commit
 *            ▼                   ▼                                 ▼         ▼
 *          failed ◄──────────────┴─────────────────────────────────┘    committing ─► committed
 *
 * Every state is durable in the record before anything follows from it, so a
 * session can be taken up again by the next process of the agent.
 */
import type { Diagnosis } from "../criu/diagnosis.ts";
import type { SessionState } from "./session-state.ts";

/** What must be known to hold a container's `create`. */
export interface ArmRequest {
  /** Docker id of the destination container, 64 hex digits. */
  readonly dockerId: string;
  /** Id of the migration, 12 hex digits; names tables and directories. */
  readonly migrationId: string;
  /**
   * How long `create` keeps asking for an absent agent, and a restore waits
   * for its images, from now on the boot-time clock. Passing it fails these;
   * `start` has no deadline, and nothing is ever thawed by one.
   */
  readonly deadlineMs: number;
  /** Files for the network hook, see network-lock/destination-files.ts. */
  readonly network: { readonly nft: string; readonly ipBatch: string };
}

/** A `create` that waits for `release`. */
export interface HeldCreate {
  /** Directory of the OCI bundle. */
  readonly bundle: string;
  /** Boot-time clock, milliseconds. */
  readonly heldAtMs: number;
}

export interface ReleaseOptions {
  /** Where CRIU's images are, or will be: runc's `descriptors.json` is all that must be there. */
  readonly imageDirectory: string;
  /** Where CRIU writes restore.log and stats-restore; created if missing. */
  readonly workDirectory: string;
  /** Further lines for CRIU's configuration file, for example "ghost-limit 1073741824". */
  readonly criuOptions?: readonly string[];
  /** Restore with pages on demand from `lazy-pages.socket` in the work directory. */
  readonly lazyPages?: boolean;
}

/** A restored copy: frozen, every task in the container's own cgroup, none outside. */
export interface PreparedCopy {
  /** Pid of the container's init on the host. */
  readonly initPid: number;
  /** Absolute directory of the container's cgroup. */
  readonly cgroup: string;
  /** Number of tasks (processes) in it. */
  readonly tasks: number;
  /** Boot-time clock, milliseconds. */
  readonly preparedAtMs: number;
}

export interface CommitResult {
  /** Boot-time clock at which the thaw was seen, milliseconds; of the first commit if repeated. */
  readonly thawedAtMs: number;
}

export interface CommitOptions {
  /** Lifts the network lock in place of the session's own way, which starts several programs: one that has been made ready. */
  readonly lift?: (() => Promise<void>) | undefined;
}

export interface RestoreSession {
  readonly dockerId: string;
  readonly migrationId: string;
  /** Directory of the session's files, readable by root only. */
  readonly directory: string;
  /** The durable state. */
  readonly state: SessionState;
  /** Resolves when `create` has reached the gate and waits; rejects on abort. */
  readonly held: Promise<HeldCreate>;
  /** Resolves when `start` has been reached and the copy has been verified; rejects on abort. */
  readonly prepared: Promise<PreparedCopy>;
  /**
   * Lets the held `create` become the restore from these images. Waits for
   * `held`. Idempotent with the same options; after `prepared` it does nothing.
   */
  release(options: ReleaseOptions): Promise<void>;
  /**
   * After `release`: resolves when runc has come to where it needs CRIU. Rejects with the signal's reason. From then on
   * this process ends the restore if CRIU ends too early; after a restart of the agent, the leader's abort does.
   */
  runcReady(signal: AbortSignal): Promise<void>;
  /**
   * The images are complete, all but the memory's pages: CRIU may begin.
   * Idempotent.
   */
  imagesComplete(): Promise<void>;
  /**
   * The memory's pages are complete: a restore that has come so far goes on.
   * Without it none gets past its namespaces. Idempotent.
   */
  pagesComplete(): Promise<void>;
  /**
   * Removes the placeholder, lifts the drop rules, thaws, and lets `start`
   * succeed. Only from prepared, committing or committed; repeatable at any
   * time, also by another process of the agent. The caller has made sure that
   * the owner key names this node.
   */
  commit(options?: CommitOptions): Promise<CommitResult>;
  /**
   * Makes `create` and `start` fail with this text and kills restored tasks
   * through their cgroup. Resolves when none is left. Repeatable. Refused
   * (TOO_LATE) from committing on.
   */
  abort(reason: string): Promise<void>;
  /**
   * True while the copy can still be committed: it is there, and so is Docker's
   * `start` of it, without which it would run unknown to Docker. Also true once
   * it is being, or was, committed.
   */
  copyStands(): Promise<boolean>;
  /** What CRIU's and runc's logs say of a failed restore; null if they say nothing. */
  restoreDiagnosis(): Promise<Diagnosis | null>;
}

export interface RuntimeGate {
  /**
   * Writes the restore record of a container that is about to be started.
   * The same container and migration again gives the same session; another
   * migration's record is refused (ALREADY_MIGRATING).
   */
  arm(request: ArmRequest): Promise<RestoreSession>;
  /** The session of a container, also one rebuilt from its record after a restart. */
  session(dockerId: string): RestoreSession | undefined;
  sessions(): readonly RestoreSession[];
  /**
   * Removes the record and the session's files: from now on the container is
   * one like any other. Refused (TOO_LATE) between release and a verdict.
   * Without a record it does nothing.
   */
  disarm(dockerId: string): Promise<void>;
  /** Stops listening. Sessions stay as they are on disk. */
  close(): Promise<void>;
}
