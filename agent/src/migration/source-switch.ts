/**
 * The switch on the source, step by step: everything from the first held-back
 * connection to the last byte delivered. Downtime runs from `lock-network`.
 *
 *   hold-connections ─► lock-network ─► freeze ─┬─► dump
 *                                               ├─► send-memory: while CRIU writes, to the last image
 *                                               └─► send-layer-rest
 *
 * A failure in any step leaves undoing to the caller; nothing here thaws.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import type { Round } from "@drayage/shared/gen/drayage/common/v1/progress.ts";
import type { TransferConnection } from "@drayage/shared/page-stream/transfer-types.ts";
import { type DumpResult, dumpContainer } from "../criu/dump-container.ts";
import { freezeCgroup } from "../host/cgroup.ts";
import { diffLayer, packLayer, scanLayer, writtenPaths } from "../layer/layer.ts";
import type { LayerManifest } from "../layer/types.ts";
import { blockMac } from "../network-lock/mac-block.ts";
import { drainAcceptQueues, dropAll, holdNewConnections } from "../network-lock/source-lock.ts";
import type { AgentHost } from "./agent-host.ts";
import type { Report } from "./joinable-run.ts";
import { type PhaseContext, runPhase } from "./run-phase.ts";
import { sendImages } from "./send-images.ts";
import { TRANSFER_KINDS } from "./transfer-kinds.ts";

/** How long the application gets to accept the connections that had arrived. */
const DRAIN_LIMIT_MS = 2_000;
const DUMP_DEADLINE_MS = 10 * 60_000;
export const FREEZE_DEADLINE_MS = 10_000;
const PAGE_BYTES = 4096;

/** What is known of the container when the switch begins. */
export interface SwitchTarget {
  readonly dockerId: string;
  readonly migrationId: string;
  /** Its init, on the host. */
  readonly pid: number;
  readonly cgroup: string;
  /** MAC addresses by the parent interface through which they leave. */
  readonly parents: ReadonlyMap<string, readonly string[]>;
  /** Its writable layer, and what of that has been sent. */
  readonly layer: string;
  readonly baseline: LayerManifest;
  readonly imageDirectory: string;
  readonly workDirectory: string;
}

export interface SwitchOutcome {
  readonly rounds: Round[];
  readonly memoryBytes: number;
  readonly wireBytes: number;
  readonly lockedAtMs: number;
}

/** Runs the steps. Postcondition on success: frozen, locked, everything delivered. */
export async function runSwitchSteps(
  host: AgentHost,
  target: SwitchTarget,
  connection: TransferConnection,
  context: PhaseContext,
  report: Report,
  signal: AbortSignal,
): Promise<SwitchOutcome> {
  const wireBytesBefore = connection.wireBytes;
  const step = <T>(name: string, body: () => Promise<T>): Promise<T> => {
    report({ step: name, doneBytes: 0, totalBytes: 0, message: "" });
    return runPhase(context, name, body);
  };
  const lock = { pid: target.pid, migrationId: target.migrationId };

  await step("hold-connections", async () => {
    await holdNewConnections(lock, signal);
    const drain = await drainAcceptQueues(lock, DRAIN_LIMIT_MS, signal);
    if (!drain.drained) {
      throw new DrayError(
        "NETWORK_LOCK_FAILED",
        `${drain.remaining} connections still wait to be accepted after ${drain.waitedMs} ms`,
        {
          node: host.node,
          remedy: "The application does not accept its connections; see why it hangs, then migrate again.",
        },
      );
    }
  });
  const lockedAtMs = Date.now();
  await step("lock-network", async () => {
    await dropAll(lock, signal);
    for (const [parent, macs] of target.parents)
      await blockMac({ migrationId: target.migrationId, parent, macs }, signal);
  });
  await faultPoint("source.before-freeze");
  await step("freeze", async () => {
    // Through Docker, so that it knows: health checks would fail otherwise.
    await host.docker.pauseContainer(target.dockerId, { signal });
    await freezeCgroup(target.cgroup, { deadlineMs: FREEZE_DEADLINE_MS, signal });
  });
  await faultPoint("source.after-freeze");
  const startedMs = performance.now();
  const dump = step("dump", () => dumpFrozen(host, target, signal));
  const [dumped] = await Promise.all([
    dump,
    step("send-memory", () => sendImages(connection, target.imageDirectory, dump, report, signal)),
    step("send-layer-rest", () => sendLayerRest(connection, target, signal)),
  ]);
  const durationMs = performance.now() - startedMs;
  await faultPoint("source.after-dump");
  const pages = dumped.stats.pagesWritten;
  const bytes = pages * PAGE_BYTES;
  return {
    rounds: [{ bytes, pages, durationMs, dirtyBytes: bytes }],
    memoryBytes: bytes,
    wireBytes: connection.wireBytes - wireBytesBefore,
    lockedAtMs,
  };
}

function dumpFrozen(host: AgentHost, target: SwitchTarget, signal: AbortSignal): Promise<DumpResult> {
  return dumpContainer({
    dockerId: target.dockerId,
    migrationId: target.migrationId,
    imageDirectory: target.imageDirectory,
    workDirectory: target.workDirectory,
    runcRoot: host.config.runcRoot,
    deadlineMs: DUMP_DEADLINE_MS,
    signal,
  });
}

async function sendLayerRest(connection: TransferConnection, target: SwitchTarget, signal: AbortSignal): Promise<void> {
  const [after, written] = await Promise.all([scanLayer(target.layer, signal), writtenPaths(target.pid, signal)]);
  const difference = diffLayer(target.baseline, after, written);
  const stream = packLayer(target.layer, difference, { live: false, signal });
  await connection.send({ kind: TRANSFER_KINDS.layerRest, name: "layer-rest" }, stream, { signal });
}
