/**
 * The source's side of the network lock: tables of our own in the container's
 * network namespace, named after the migration, so that another process of
 * the agent can remove them.
 */

export interface LockTarget {
  /** Any pid in the container's network namespace. */
  readonly pid: number;
  readonly migrationId: string;
}

export interface DrainResult {
  /** True if every accept queue was empty and no handshake was under way. */
  readonly drained: boolean;
  readonly waitedMs: number;
  /** Connections left in accept queues and half-open ones. */
  readonly remaining: number;
}

/** From now on new connections to the container are held back: their SYNs are dropped. */
export declare function holdNewConnections(target: LockTarget, signal?: AbortSignal): Promise<void>;

/** Waits until the application has accepted what had arrived, at most `limitMs`. */
export declare function drainAcceptQueues(target: LockTarget, limitMs: number, signal?: AbortSignal): Promise<DrainResult>;

/** Nothing goes in or out, ARP included; the loopback is kept. */
export declare function dropAll(target: LockTarget, signal?: AbortSignal): Promise<void>;

/** Removes both; nothing to do if they are gone. */
export declare function unlock(target: LockTarget, signal?: AbortSignal): Promise<void>;
