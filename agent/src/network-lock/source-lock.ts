/**
 * The source's side of the network lock: tables of our own in the container's
 * network namespace, named after the migration, so that another process of
 * the agent can remove them.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { bootClockMs } from "../host/boot-clock.ts";
import { runInNetworkNamespace } from "../host/netns.ts";
import { PreparedRules } from "./prepared-rules.ts";
import { dropAllRules, holdNewRules, removeTables } from "./rulesets.ts";
import { tcpCounts } from "./sockets.ts";

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
  /** Closing sockets without an owner; they are lost with the source. */
  readonly orphans: number;
}

const NFT_LIMIT_MS = 5000;
/** The kernel announces no change of an accept queue. */
const RECHECK_MS = 5;

/** From now on new connections to the container are held back: their SYNs are dropped. */
export async function holdNewConnections(target: LockTarget, signal?: AbortSignal): Promise<void> {
  await load(target, holdNewRules(target.migrationId), signal);
}

/** Waits until the application has accepted what had arrived, at most `limitMs`. */
export async function drainAcceptQueues(
  target: LockTarget,
  limitMs: number,
  signal?: AbortSignal,
): Promise<DrainResult> {
  const startMs = bootClockMs();
  for (;;) {
    signal?.throwIfAborted();
    const { unaccepted, halfOpen, orphans } = await tcpCounts(target.pid);
    const remaining = unaccepted + halfOpen;
    const waitedMs = bootClockMs() - startMs;
    if (remaining === 0 || waitedMs >= limitMs) return { drained: remaining === 0, waitedMs, remaining, orphans };
    await new Promise((resolve) => setTimeout(resolve, RECHECK_MS));
  }
}

/** Nothing goes in or out, ARP included; the loopback is kept. */
export async function dropAll(target: LockTarget, signal?: AbortSignal): Promise<void> {
  await load(target, dropAllRules(target.migrationId), signal);
}

/** The same, ready to be applied at once. */
export function prepareDropAll(target: LockTarget): Promise<PreparedRules> {
  return PreparedRules.inNamespaceOf(target.pid, dropAllRules(target.migrationId));
}

/** Removes both; nothing to do if they, or the process and its namespace, are gone. */
export async function unlock(target: LockTarget, signal?: AbortSignal): Promise<void> {
  try {
    await load(target, removeTables(target.migrationId), signal);
  } catch (error) {
    if (error instanceof DrayError && error.reason === "NOT_FOUND") return;
    throw error;
  }
}

async function load(target: LockTarget, rules: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    await runInNetworkNamespace(target.pid, ["nft", "-f", "-"], { stdin: rules, deadlineMs: NFT_LIMIT_MS, signal });
  } catch (cause) {
    if (!(cause instanceof DrayError) || cause.reason !== "COMMAND_FAILED") throw cause;
    throw new DrayError("NETWORK_LOCK_FAILED", `nft refused the network lock: ${cause.message}`, { cause });
  }
}
