/**
 * The switch on the source, step by step: everything from the journaled intent
 * to the last byte delivered. Downtime runs from `freeze`.
 *
 *   restart-policy-off ─► prepare-switch ─► hold-connections
 *     ─► freeze ─┬─► lock-network
 *                └─► settle-files: what it has on shared storage, if any
 *     ─┬─► dump, without private memory ─┬─► the images
 *      │                                 └─► send-memory: from the frozen processes, unless the copy will fetch it
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
import { processesWithAlignedStack } from "../criu/aligned-stacks.ts";
import { type PreparedDump, prepareDump } from "../criu/dump-container.ts";
import type { DumpStats } from "../criu/dump-stats.ts";
import { restartPolicyOf } from "../docker/restart-policy.ts";
import type { ContainerInspect } from "../docker/types.ts";
import { freezeCgroup } from "../host/cgroup.ts";
import { dumpBytesLimitOf, sharedBytesLimitOf } from "../host/dump-bytes-limit.ts";
import { goFirst } from "../host/go-first.ts";
import { mountsOf } from "../host/mountinfo.ts";
import { layerDirectory, SentTree, writtenPaths } from "../layer/layer.ts";
import type { Rest } from "../layer/sent-tree.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { pagesInImages } from "../memory-image/pages-in-images.ts";
import { type FrozenMemory, frozenMemory } from "../memory/frozen-memory.ts";
import type { Known } from "../memory/page-batch.ts";
import type { Throttle } from "../memory/throttle.ts";
import type { WriteTracking } from "../memory/write-tracking.ts";
import { prepareMacBlocks } from "../network-lock/mac-block.ts";
import type { PreparedRules } from "../network-lock/prepared-rules.ts";
import { drainAcceptQueues, holdNewConnections, type LockTarget, prepareDropAll } from "../network-lock/source-lock.ts";
import { carriedTmpfs } from "../tmpfs/carried-tmpfs.ts";
import type { SentTmpfs } from "../tmpfs/sent-tmpfs.ts";
import { flushSharedFiles, hasSharedStorage, settleSharedFiles } from "../shared-storage/settle.ts";
import type { AgentHost } from "./agent-host.ts";
import { allSettled } from "./all-settled.ts";
import { withKeptLog } from "./criu-failure.ts";
import { endpointsOf, macsByParent } from "./endpoints.ts";
import type { Report } from "./joinable-run.ts";
import { type PhaseContext, runPhase } from "./run-phase.ts";
import { sendImages } from "./send-images.ts";
import { FREEZE_DEADLINE_MS } from "./source-container.ts";
import type { SourceContext } from "./source-context.ts";
import { TRANSFER_KINDS } from "./transfer-kinds.ts";
import { watchedPaths } from "./watched-paths.ts";

/** How long the application gets to accept the connections that had arrived. */
const DRAIN_LIMIT_MS = 2_000;
const DUMP_DEADLINE_MS = 10 * 60_000;

/** What is known of the container when the switch begins. */
interface SwitchTarget {
  readonly dockerId: string;
  readonly migrationId: string;
  /** Its init, on the host. */
  readonly pid: number;
  readonly cgroup: string;
  /** MAC addresses by the parent interface through which they leave. */
  readonly parents: ReadonlyMap<string, readonly string[]>;
  /** Its writable layer. */
  readonly layer: SentTree;
  /** What it has of tmpfs that is not left to CRIU. */
  readonly tmpfs: readonly SentTmpfs[];
  /** What the destination has of its memory; null if nothing. */
  readonly known: Known | null;
  /** What was written to since then; null if that cannot be asked. */
  readonly tracking: WriteTracking | null;
  readonly throttle: Throttle | undefined;
  /** Private memory stays where it is: the copy will fetch it. */
  readonly postCopy: boolean;
  readonly imageDirectory: string;
  readonly workDirectory: string;
}

interface SwitchOutcome {
  readonly rounds: Round[];
  readonly memoryBytes: number;
  readonly wireBytes: number;
  readonly lockedAtMs: number;
}

/**
 * Freezes, dumps, sends. Postcondition on success: frozen behind its lock,
 * everything delivered, state `sent`. PREFLIGHT if the container does not run.
 */
export async function switchSource(
  context: SourceContext,
  connection: TransferConnection,
  postCopy: boolean,
  report: Report,
  signal: AbortSignal,
): Promise<SwitchResult> {
  const { host, record, phases, transfer } = context;
  const { dockerId } = record.entry;
  const inspect = await host.docker.inspectContainer(dockerId, { signal });
  const target = await findTarget(context, inspect, postCopy, signal);
  await record.transition("switching", {
    frozen: {
      pid: target.pid,
      macs: [...target.parents.values()].flat(),
      restartPolicy: restartPolicyOf(inspect),
      lockedAtMs: Date.now(),
    },
  });
  await runPhase(phases, "restart-policy-off", () =>
    // Not by the signal: set late, it would undo the policy that the way back has set.
    host.docker.updateRestartPolicy(dockerId, { Name: "no" }),
  );
  const outcome = await goFirst(() => runSwitchSteps(context, target, connection, report, signal));
  const { transferBytesTotal, transferWireBytesTotal, checkpointSizeBytes } = host.metrics;
  transferBytesTotal.inc({ direction: "sent", kind: "pages" }, outcome.memoryBytes);
  transferWireBytesTotal.inc({ direction: "sent" }, outcome.wireBytes);
  checkpointSizeBytes.observe(outcome.memoryBytes);
  await record.transition("sent", { postCopy: postCopy ? (transfer.target ?? null) : null });
  return { ...outcome, steps: [...phases.times] };
}

/** What the steps need to know and to have. NO_SPACE if there is no room for the images. */
async function findTarget(
  { host, record, container, transfer, logger }: SourceContext,
  inspect: ContainerInspect,
  postCopy: boolean,
  signal: AbortSignal,
): Promise<SwitchTarget> {
  const { docker } = host;
  const { dockerId, migrationId, containerName } = record.entry;
  if (!inspect.State.Running || inspect.State.Paused) {
    throw new DrayError("PREFLIGHT", `container ${containerName} is ${inspect.State.Status}, not running`, {
      node: host.node,
    });
  }
  if (transfer.descriptors !== (await container.descriptors())) {
    throw new DrayError("PREFLIGHT", `container ${containerName} was restarted while its files were sent`, {
      node: host.node,
      remedy: "Migrate it again.",
    });
  }
  const cgroup = await container.cgroup();
  const parents = macsByParent(endpointsOf(inspect, await docker.listNetworks({ signal })));
  const aligned = await processesWithAlignedStack(cgroup);
  if (aligned.length > 0) {
    logger.warn({ pids: aligned }, "a stack pointer is at the beginning of a page: CRIU writes all of the memory");
  }
  const imageBytesLimitOf = aligned.length > 0 ? dumpBytesLimitOf : sharedBytesLimitOf;
  const directories = await transfer.makeDirectories(await imageBytesLimitOf(cgroup));
  return {
    dockerId,
    migrationId,
    pid: inspect.State.Pid,
    cgroup,
    parents,
    layer: transfer.layer ?? new SentTree(await layerDirectory(docker, dockerId, signal)),
    tmpfs: transfer.tmpfs,
    known: transfer.known,
    tracking: transfer.sentMemory?.tracking ?? null,
    throttle: transfer.throttle,
    postCopy,
    ...directories,
  };
}

/** CRIU is told by mount points what it is to leave out: what is mounted there now must be what was sent. */
async function demandSameTmpfs(pid: number, sent: readonly SentTmpfs[], node: string): Promise<void> {
  if (sent.length === 0) return;
  const now = carriedTmpfs(await mountsOf(pid), []);
  for (const { mount } of sent) {
    if (now.some(({ mountPoint, device }) => mountPoint === mount.mountPoint && device === mount.device)) continue;
    throw new DrayError("PREFLIGHT", `what is mounted on ${mount.mountPoint} has changed while it was sent`, {
      node,
      remedy: "Migrate the container again when its mounts stay as they are.",
    });
  }
}

/** Runs the steps. Postcondition on success: frozen, locked, everything delivered. */
async function runSwitchSteps(
  { host, phases, standstill }: SourceContext,
  target: SwitchTarget,
  connection: TransferConnection,
  report: Report,
  cancelled: AbortSignal,
): Promise<SwitchOutcome> {
  const ending = new AbortController();
  const signal = AbortSignal.any([cancelled, ending.signal]);
  const wireBytesBefore = connection.wireBytes;
  const step = <T>(name: string, body: () => Promise<T>): Promise<T> => {
    report({ step: name, doneBytes: 0, totalBytes: 0, message: "" });
    return runPhase(phases, name, body);
  };
  const lock = { pid: target.pid, migrationId: target.migrationId };
  const send = (memory: FrozenMemory) =>
    connection.sendChunks({ kind: TRANSFER_KINDS.memory, name: "memory" }, memory.chunks, {
      signal,
      onProgress: () =>
        report({
          step: "send-memory",
          doneBytes: memory.sentPages * PAGE_BYTES,
          totalBytes: 0,
          message: target.known === null ? "" : `${memory.seenPages} pages compared`,
        }),
    });
  const ready = await step("prepare-switch", () => makeReady(host, target, signal));
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
    await allSettled([lockNetwork, settle], ending);
    const startedMs = performance.now();
    const dump = step("dump", () => runDump(host, target, ready.dump));
    const memory = target.postCopy ? null : frozenMemory({ ...target, initPid: target.pid, signal });
    const sendMemory = memory === null ? dump : dump.then(() => step("send-memory", () => send(memory)));
    const images = dump.then(() => sendImages(connection, target.imageDirectory, target.postCopy, signal));
    const layerRest = step("send-layer-rest", () => sendLayerRest(host, connection, target, report, signal));
    const tmpfsRest = step("send-tmpfs-rest", () => sendTmpfsRest(host, connection, target, report, signal));
    const account = dump.then(() => accountForDump(ready.dump, phases));
    await allSettled([dump, sendMemory, images, layerRest, tmpfsRest, account], ending);
    const durationMs = performance.now() - startedMs;
    await faultPoint("source.after-dump");
    const wireBytes = connection.wireBytes - wireBytesBefore;
    const { seenPages, sentPages } = memory ?? (await pagesInImages(target.imageDirectory));
    const bytes = sentPages * PAGE_BYTES;
    return {
      rounds: [{ bytes, pages: sentPages, durationMs, dirtyBytes: bytes, wireBytes }],
      memoryBytes: seenPages * PAGE_BYTES,
      wireBytes,
      lockedAtMs,
    };
  } finally {
    ready.discard();
  }
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

/** What CRIU says of its own work, for logs and metrics: no reason to fail if it cannot be read. */
async function accountForDump(dump: PreparedDump, { logger, metrics }: PhaseContext): Promise<void> {
  let stats: DumpStats;
  try {
    stats = await dump.stats();
  } catch (thrown) {
    logger.warn({ err: toDrayError(thrown) }, "CRIU's statistics of the dump cannot be read");
    return;
  }
  const { memdumpUs, memwriteUs, pagesScanned, pagesWritten } = stats;
  logger.info({ pages_scanned: pagesScanned, pages_written: pagesWritten }, "CRIU has dumped");
  metrics.criuDurationSeconds.observe({ operation: "dump-memory" }, memdumpUs / 1e6);
  metrics.criuDurationSeconds.observe({ operation: "write-memory" }, memwriteUs / 1e6);
}

/** Programs that have been started and wait: what they do takes milliseconds then, their start has taken its tens before. */
interface Ready {
  readonly drop: PreparedRules;
  readonly block: PreparedRules;
  readonly dump: PreparedDump;
  /** The container has files on storage that the destination has, too. */
  readonly sharedStorage: boolean;
  discard(): void;
}

async function makeReady(host: AgentHost, target: SwitchTarget, signal: AbortSignal): Promise<Ready> {
  const { migrationId, pid } = target;
  const watched = await watchedPaths(pid, signal);
  const sharedStorage = await hasSharedStorage(pid);
  if (sharedStorage) await flushSharedFiles(pid, signal);
  const blocks = [...target.parents].map(([parent, macs]) => ({ migrationId, parent, macs }));
  const block = await prepareMacBlocks(blocks, signal);
  const drop = await prepareDropAll({ pid, migrationId });
  const discardRules = () => {
    block.discard();
    drop.discard();
  };
  try {
    const dump = await prepareDump({
      dockerId: target.dockerId,
      migrationId,
      imageDirectory: target.imageDirectory,
      workDirectory: target.workDirectory,
      runcRoot: host.config.runcRoot,
      memory: "lazy",
      watchedPaths: watched,
      leftOutMounts: target.tmpfs.map(({ mount }) => mount.mountPoint),
      deadlineMs: DUMP_DEADLINE_MS,
      signal,
    });
    return {
      drop,
      block,
      dump,
      sharedStorage,
      discard: () => {
        discardRules();
        dump.discard();
      },
    };
  } catch (error) {
    discardRules();
    throw error;
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

async function sendLayerRest(
  host: AgentHost,
  connection: TransferConnection,
  { layer, pid }: SwitchTarget,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const written = writtenPaths(pid, signal);
  // Awaited by the tree, when it has looked.
  written.catch(() => undefined);
  const rest = await layer.rest(() => written, signal);
  const { bytes } = await connection.send({ kind: TRANSFER_KINDS.layerRest, name: "layer-rest" }, rest.content, {
    signal,
  });
  host.metrics.transferBytesTotal.inc({ direction: "sent", kind: "layer-rest" }, bytes);
  report({ step: "send-layer-rest", doneBytes: bytes, totalBytes: bytes, message: compared(rest) });
}

async function sendTmpfsRest(
  host: AgentHost,
  connection: TransferConnection,
  { tmpfs }: SwitchTarget,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  for (const each of tmpfs) {
    const { number, mount } = each;
    const rest = await each.rest(signal);
    const file = { kind: TRANSFER_KINDS.tmpfsRest, name: mount.mountPoint, metadata: { number } };
    const { bytes } = await connection.send(file, rest.content, { signal });
    host.metrics.transferBytesTotal.inc({ direction: "sent", kind: "tmpfs-rest" }, bytes);
    report({ step: "send-tmpfs-rest", doneBytes: bytes, totalBytes: bytes, message: compared(rest) });
  }
}

function compared({ comparedFiles, comparedPages }: Rest): string {
  return comparedFiles === 0 ? "" : `${comparedFiles} open files compared, ${comparedPages} pages of them sent`;
}
