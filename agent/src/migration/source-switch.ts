/**
 * The switch on the source, step by step: everything from the journaled intent
 * to the last byte delivered. Downtime runs from `freeze`.
 *
 *   restart-policy-off ─► prepare-switch ─► hold-connections
 *     ─► freeze ─┬─► lock-network
 *                └─► settle-files: what it has on shared storage, if any
 *     ─► count-connections: on a bridge network, unless their loss was accepted
 *     ─┬─► dump ─► the images
 *      ├─► send-memory: as CRIU brings it while it dumps; what it leaves in the processes when the dump is over, unless
 *      │                the copy will fetch that
 *      ├─► send-layer-rest
 *      └─► send-tmpfs-rest
 *
 * A failure in any step leaves undoing to the caller; nothing here thaws.
 */
import { join } from "node:path";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import type { SwitchResult } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { Round } from "@drayage/shared/gen/drayage/common/v1/progress.ts";
import type { TransferConnection } from "@drayage/shared/page-stream/transfer-types.ts";
import type { PreparedDump } from "../criu/dump-container.ts";
import { restartPolicyOf } from "../docker/restart-policy.ts";
import { freezeCgroup, isFrozen } from "../host/cgroup.ts";
import { goFirst } from "../host/go-first.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import type { SwitchedMemory } from "../memory/dumped-memory.ts";
import { forgetFinalDumpOnly } from "../memory/final-dump-only.ts";
import { drainAcceptQueues, holdNewConnections, type LockTarget } from "../network-lock/source-lock.ts";
import { settleSharedFiles } from "../shared-storage/settle.ts";
import type { AgentHost } from "./agent-host.ts";
import { allSettled } from "./all-settled.ts";
import { withKeptLog } from "./criu-failure.ts";
import type { Report } from "./joinable-run.ts";
import { demandNoLostConnections } from "./lost-connections.ts";
import { runPhase } from "./run-phase.ts";
import { sendImages } from "./send-images.ts";
import { FREEZE_DEADLINE_MS } from "./source-container.ts";
import type { SourceContext } from "./source-context.ts";
import { TRANSFER_KINDS } from "./transfer-kinds.ts";
import { setGoing } from "./source-starts.ts";
import { makeReady } from "./switch-ready.ts";
import { demandSameTmpfs, findTarget, type SwitchOrder, type SwitchTarget } from "./switch-target.ts";
import { sendLayerRest, sendTmpfsRest } from "./send-rest.ts";

/** How long the application gets to accept the connections that had arrived. */
const DRAIN_LIMIT_MS = 2_000;

interface SwitchOutcome {
  readonly rounds: Round[];
  readonly memoryBytes: number;
  readonly wireBytes: number;
  readonly lockedAtMs: number;
}

/**
 * Freezes, dumps, sends. Postcondition on success: frozen behind its lock,
 * everything delivered, state `sent`. PREFLIGHT if the container does not run, or has connections that would be lost.
 */
export async function switchSource(
  context: SourceContext,
  connection: TransferConnection,
  order: SwitchOrder,
  report: Report,
  signal: AbortSignal,
): Promise<SwitchResult> {
  const { host, record, phases, transfer } = context;
  const { dockerId } = record.entry;
  const inspect = await host.docker.inspectContainer(dockerId, { signal });
  const target = await findTarget(context, inspect, order, signal);
  await record.transition("switching", {
    frozen: {
      pid: target.pid,
      macs: [...target.parents.values()].flat(),
      restartPolicy: restartPolicyOf(inspect),
      lockedAtMs: Date.now(),
    },
  });
  await runPhase(phases, "restart-policy-off", async () => {
    await host.bars.set(dockerId, target.migrationId);
    // Not by the signal: set late, it would undo the policy that the way back has set.
    await host.docker.updateRestartPolicy(dockerId, { Name: "no" });
  });
  const outcome = await goFirst(() => runSwitchSteps(context, target, connection, report, signal));
  const { transferBytesTotal, transferWireBytesTotal, checkpointSizeBytes } = host.metrics;
  transferBytesTotal.inc({ direction: "sent", kind: "pages" }, outcome.memoryBytes);
  transferWireBytesTotal.inc({ direction: "sent" }, outcome.wireBytes);
  checkpointSizeBytes.observe(outcome.memoryBytes);
  // Everything may have been sent when the switch was called off; from here on the copy may run.
  signal.throwIfAborted();
  await record.transition("sent", { postCopy: order.postCopy ? (transfer.target ?? null) : null });
  return { ...outcome, steps: [...phases.times] };
}

/** Runs the steps. Postcondition on success: frozen, locked, everything delivered. */
async function runSwitchSteps(
  context: SourceContext,
  target: SwitchTarget,
  connection: TransferConnection,
  report: Report,
  cancelled: AbortSignal,
): Promise<SwitchOutcome> {
  const { host, phases, standstill } = context;
  const ending = new AbortController();
  const signal = AbortSignal.any([cancelled, ending.signal]);
  const wireBytesBefore = connection.wireBytes;
  const step = <T>(name: string, body: () => Promise<T>): Promise<T> => {
    report({ step: name, doneBytes: 0, totalBytes: 0, message: "" });
    return runPhase(phases, name, body);
  };
  const lock = { pid: target.pid, migrationId: target.migrationId };
  const send = (memory: SwitchedMemory) => {
    const mostBytes = target.postCopy ? target.broughtBytes : target.memoryBytes;
    return connection.sendChunks(
      { kind: TRANSFER_KINDS.memory, name: "memory", metadata: { mostBytes } },
      memory.chunks,
      {
        signal,
        striped: true,
        onProgress: () => {
          const doneBytes = memory.seenPages * PAGE_BYTES;
          const sent = `${((memory.sentPages * PAGE_BYTES + memory.changeBytes) / 1e6).toFixed(1)} MB sent`;
          const message = target.known === null ? "" : sent;
          report({ step: "send-memory", doneBytes, totalBytes: Math.max(doneBytes, mostBytes), message });
        },
      },
    );
  };
  const ready = await step("prepare-switch", () => makeReady(context, target, signal));
  try {
    // It is to accept what has arrived, and whatever slows it down opens the freezer now and then.
    await target.throttle?.release();
    await step("hold-connections", () => holdConnections(host, lock, signal));
    await faultPoint("source.before-freeze");
    const lockedAtMs = Date.now();
    standstill.begin();
    await step("freeze", async () => {
      // Through Docker, so that it knows: health checks would fail otherwise.
      // Not by the signal: a pause that Docker carries out after nobody waits any more would undo the revival.
      await host.docker.pauseContainer(target.dockerId);
      await freezeCgroup(target.cgroup, { deadlineMs: FREEZE_DEADLINE_MS, signal });
    });
    await faultPoint("source.after-freeze");
    await demandSameTmpfs(target.pid, target.tmpfs, host.node);
    // After the freeze, so that no reply of the application is lost: the copy would repeat it only after a second.
    const lockNetwork = step("lock-network", () => allSettled([ready.drop.apply(), ready.block.apply()], ending));
    // Before the dump is sent: the copy looks at the files as soon as it is restored.
    const settleFiles = () => settleSharedFiles(target.pid, signal);
    const settle = ready.sharedStorage ? step("settle-files", settleFiles) : Promise.resolve();
    const forget = target.known && forgetFinalDumpOnly(target.known.digests, target.cgroup, target.pid);
    await allSettled([lockNetwork, settle, forget ?? Promise.resolve()], ending);
    // Behind the lock: what was on its way when it was frozen has come in by then, or never will.
    if (target.bridges.length > 0)
      await step("count-connections", () => demandNoLostConnections(target.pid, target.bridges, host.node));
    const startedMs = performance.now();
    const dump = step("dump", () => runDump(host, target, ready.dump));
    dump.then(
      () => ready.pages.complete(),
      (error: unknown) => ready.pages.fail(error),
    );
    const { memory } = ready.pages;
    const sendMemory = step("send-memory", () => send(memory));
    const images = dump.then(() => sendImages(connection, target.imageDirectory, signal));
    const account = images.then((bytes) => phases.logger.info({ image_bytes: bytes }, "CRIU's images have been sent"));
    const layerRest = step("send-layer-rest", () => sendLayerRest(host, connection, target, report, signal));
    const tmpfsRest = step("send-tmpfs-rest", () => sendTmpfsRest(host, connection, target, report, signal));
    await allSettled([dump, sendMemory, images, layerRest, tmpfsRest, account], ending);
    const durationMs = performance.now() - startedMs;
    await faultPoint("source.after-dump");
    await demandStandsStill(context, target.cgroup);
    const wireBytes = connection.wireBytes - wireBytesBefore;
    const { seenPages, leftPages, sentPages, changedPages, dirtyPages, changeBytes } = memory;
    const bytes = sentPages * PAGE_BYTES + changeBytes;
    const pages = sentPages + changedPages;
    return {
      rounds: [{ bytes, pages, durationMs, dirtyBytes: dirtyPages * PAGE_BYTES, wireBytes, stillMs: 0 }],
      memoryBytes: (seenPages + leftPages) * PAGE_BYTES,
      wireBytes,
      lockedAtMs,
    };
  } finally {
    ready.discard();
  }
}

/** After the last of it was read: Docker's word of an unpause may come later than the memory that was written to. */
async function demandStandsStill({ host, record }: SourceContext, cgroup: string): Promise<void> {
  if (!(await isFrozen(cgroup))) throw setGoing(record.entry.containerName, host.node);
}

async function runDump(host: AgentHost, target: SwitchTarget, dump: PreparedDump): Promise<void> {
  try {
    await dump.run();
  } catch (thrown) {
    const error = toDrayError(thrown);
    const { migrationId, workDirectory } = target;
    throw await withKeptLog(host, error, { logPath: join(workDirectory, "dump.log"), name: `${migrationId}-dump` });
  }
}

async function holdConnections(host: AgentHost, lock: LockTarget, signal: AbortSignal): Promise<void> {
  await holdNewConnections(lock, signal);
  const { drained, remaining, waitedMs } = await drainAcceptQueues(lock, DRAIN_LIMIT_MS, signal);
  if (drained) return;
  throw new DrayError(
    "NETWORK_LOCK_FAILED",
    `${remaining} connections still wait to be accepted after ${waitedMs} ms`,
    {
      node: host.node,
      remedy: "The application does not accept its connections; see why it hangs, then migrate again.",
    },
  );
}
