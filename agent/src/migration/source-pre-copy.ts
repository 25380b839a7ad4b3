/**
 * Copies memory in rounds while the container runs, until what is left fits the downtime, or more rounds bring nothing.
 *
 * Postconditions: on return the destination has every round whole, and the container runs as before. The switch sends
 * what differs from the last of them.
 */
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import { OnStall, type PreCopy } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { Round } from "@drayage/shared/gen/drayage/common/v1/progress.ts";
import type { TransferConnection } from "@drayage/shared/page-stream/transfer-types.ts";
import { contentRound } from "../memory/content-round.ts";
import {
  decide,
  type Estimate,
  type Round as MeasuredRound,
  type Target,
  type Verdict,
} from "../memory/convergence.ts";
import { DigestTable } from "../memory/digest-table.ts";
import { isFrozen, whileFrozen } from "../host/cgroup.ts";
import { dumpBytesLimitOf } from "../host/dump-bytes-limit.ts";
import { RepeatedPages } from "../memory/repeated-pages.ts";
import { ChangingPages } from "../memory/changing-pages.ts";
import { SpillFile } from "../memory/spill-file.ts";
import { Throttle } from "../memory/throttle.ts";
import { kernelNotesWrites, notedContainer, WriteTracking, type WrittenSince } from "../memory/write-tracking.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import type { Report } from "./joinable-run.ts";
import { roundText } from "./round-progress.ts";
import { runPhase } from "./run-phase.ts";
import type { SourceContext } from "./source-context.ts";
import { TRANSFER_KINDS } from "./transfer-kinds.ts";
import { spillDirectoryOf, transitOptionsOf } from "./transit-directory.ts";

/** What a switch takes besides memory: CRIU's dump and restore of the processes, the commit. */
const FIXED_MS = 350;
/** In the switch the agent reads and judges all of the memory, unless the kernel tells what was written to. */
const JUDGED_BYTES_PER_MS = 1_000_000;

/** How pages that change are found. */
const SOFT_DIRTY = "what the kernel notes of writes (soft-dirty)";
const CONTENT = "comparing contents: the kernel does not note writes (soft-dirty)";

/** For all processes to stand still, to be asked what was written to: nobody should notice. */
const STILL_MS = 1000;

export interface PreCopyResult {
  readonly rounds: Round[];
  readonly decisions: string[];
  /** The copy is to fetch what remains. */
  readonly postCopy: boolean;
}

/** As `runRounds`; a container that was slowed down is not, if it fails. */
export async function preCopy(
  context: SourceContext,
  connection: TransferConnection,
  order: PreCopy,
  report: Report,
  signal: AbortSignal,
): Promise<PreCopyResult> {
  try {
    return await runRounds(context, connection, order, report, signal);
  } catch (thrown) {
    await context.transfer.throttle?.release();
    throw thrown;
  }
}

/** NOT_CONVERGING if the downtime cannot be met and the order says to give up. */
async function runRounds(
  context: SourceContext,
  connection: TransferConnection,
  order: PreCopy,
  report: Report,
  signal: AbortSignal,
): Promise<PreCopyResult> {
  const { host, phases, logger, transfer, container } = context;
  const rounds: Round[] = [];
  const measured: MeasuredRound[] = [];
  const decisions: string[] = [];
  const tracking = await trackingOf(context);
  transfer.sentMemory = {
    digests: new DigestTable(digestFileOf(context)),
    tracking,
    repeated: new RepeatedPages(),
    changing: new ChangingPages(),
    rounds: 0,
    pages: 0,
  };
  const decided = (text: string, ended?: Round) => {
    decisions.push(text);
    report({ step: "pre-copy", doneBytes: 0, totalBytes: 0, message: "", round: ended, decision: text });
  };
  decided(`pages that change are found by ${tracking === null ? CONTENT : SOFT_DIRTY}`);
  for (;;) {
    await faultPoint(`source.before-round-${rounds.length + 1}`);
    const { round, lookingMs } = await runPhase(phases, "pre-copy", () =>
      sendRound(context, connection, rounds.at(-1), report, signal),
    );
    rounds.push(round);
    const { bytes: sentBytes, durationMs } = round;
    measured.push({ sentBytes, durationMs, sendingMs: Math.max(0, durationMs - lookingMs) });
    if (rounds.length > 1) host.metrics.preCopyDirtyBytes.observe(round.dirtyBytes);
    const target: Target = {
      maxDowntimeMs: order.maxDowntimeMs === 0 ? null : order.maxDowntimeMs,
      fixedMs: FIXED_MS + (tracking === null ? (transfer.sentMemory.pages * PAGE_BYTES) / JUDGED_BYTES_PER_MS : 0),
    };
    const verdict = decide(measured, target);
    const decision = `round ${rounds.length}: ${sentence(verdict, target)}`;
    decided(decision, round);
    logger.info({ phase: "pre-copy", round: rounds.length, verdict: verdict.kind }, decision);
    if (verdict.kind === "round") continue;
    if (verdict.kind === "stalled" && verdict.why === "rounds-do-not-pay" && order.autoConverge) {
      transfer.throttle ??= new Throttle(await container.cgroup(), host.stopping);
      if (transfer.throttle.tighten()) {
        decided(`throttling: the container stands still ${Math.round(transfer.throttle.share * 100)} % of the time`);
        continue;
      }
    }
    if (verdict.kind === "switch" || order.onStall === OnStall.ON_STALL_SWITCH)
      return { rounds, decisions, postCopy: false };
    if (order.onStall === OnStall.ON_STALL_POST_COPY) {
      decided("going over to post-copy: the copy fetches what remains");
      return { rounds, decisions, postCopy: true };
    }
    throw new DrayError("NOT_CONVERGING", `${rounds.length} rounds of memory: ${sentence(verdict, target)}`, {
      node: host.node,
      remedy: remedyFor(target, order),
    });
  }
}

async function sendRound(
  context: SourceContext,
  connection: TransferConnection,
  before: Round | undefined,
  report: Report,
  signal: AbortSignal,
): Promise<{ round: Round; lookingMs: number }> {
  const { transfer, container, record, logger } = context;
  const sent = transfer.sentMemory;
  if (sent === undefined) throw new DrayError("INTERNAL", "a round of memory without an account of what was sent");
  const inspect = await container.inspect();
  if (inspect === null || !inspect.State.Running) {
    throw new DrayError("PREFLIGHT", `container ${record.entry.containerName} has ended`);
  }
  const cgroup = await container.cgroup();
  const wireBytesBefore = connection.wireBytes;
  const startedAt = performance.now();
  const number = sent.rounds;
  // The first has to guess.
  const memoryBytes = number === 0 ? await dumpBytesLimitOf(cgroup) : sent.pages * PAGE_BYTES;
  const { tracking } = sent;
  const askedAt = performance.now();
  const written = tracking === null ? null : await askWhileStill(context, cgroup, () => tracking.renew());
  const stillMs = tracking === null ? 0 : performance.now() - askedAt;
  const content = contentRound({
    cgroup,
    initPid: inspect.State.Pid,
    known: { digests: sent.digests, repeated: sent.repeated, changing: sent.changing, round: number },
    written,
    signal,
  });
  await connection.sendChunks(
    { kind: TRANSFER_KINDS.memoryRound, name: `round-${number}`, metadata: { round: number } },
    content.chunks,
    {
      signal,
      striped: true,
      onProgress: () => {
        const seenBytes = content.seenPages * PAGE_BYTES;
        const sentBytes = content.sentPages * PAGE_BYTES + content.changeBytes;
        const elapsedMs = performance.now() - startedAt;
        const message = roundText({ round: number + 1, sentBytes, seenBytes, memoryBytes, elapsedMs });
        report({ step: "pre-copy", doneBytes: seenBytes, totalBytes: Math.max(seenBytes, memoryBytes), message });
      },
    },
  );
  const { sentPages, repeatedPages, changedPages, changeBytes } = content;
  logger.debug(
    { round: number + 1, sent: sentPages, repeated: repeatedPages, changed: changedPages },
    "pages of a round of memory",
  );
  sent.rounds++;
  sent.pages = content.seenPages;
  const round: Round = {
    bytes: sentPages * PAGE_BYTES + changeBytes,
    pages: sentPages + changedPages,
    durationMs: performance.now() - startedAt,
    dirtyBytes: before === undefined ? 0 : (sentPages + repeatedPages + changedPages) * PAGE_BYTES,
    wireBytes: connection.wireBytes - wireBytesBefore,
    stillMs,
  };
  return { round, lookingMs: content.lookingMs };
}

function digestFileOf({ host, logger }: SourceContext): SpillFile {
  return new SpillFile(spillDirectoryOf(transitOptionsOf(host.config)), (error) => {
    logger.warn({ phase: "pre-copy", err: error }, "digests of pages cannot lie on disk: they stay in memory");
  });
}

/** Null if the kernel does not note what is written to: contents are compared then. */
async function trackingOf({ host, container }: SourceContext): Promise<WriteTracking | null> {
  const { facts } = await host.hostFacts.current();
  const inspect = kernelNotesWrites(facts.criuFeatures) ? await container.inspect() : null;
  return inspect === null ? null : new WriteTracking(notedContainer(await container.cgroup(), inspect.State.Pid));
}

/** Null if it does not come to stand still: what is written to goes on being noted, and contents are compared. */
async function askWhileStill(
  { host, transfer, logger }: SourceContext,
  cgroup: string,
  body: () => Promise<WrittenSince>,
): Promise<WrittenSince | null> {
  const { throttle } = transfer;
  try {
    if (throttle !== undefined) return await throttle.still(body);
    return await whileFrozen(cgroup, { deadlineMs: STILL_MS, stopping: host.stopping }, body);
  } catch (thrown) {
    const error = toDrayError(thrown);
    if (error.reason !== "FREEZE_FAILED" || (await isFrozen(cgroup))) throw error;
    logger.warn({ phase: "pre-copy", err: error }, "it does not stand still to be asked what was written to");
    return null;
  }
}

function remedyFor({ maxDowntimeMs, fixedMs }: Target, { autoConverge }: PreCopy): string {
  if (maxDowntimeMs !== null && maxDowntimeMs <= fixedMs) {
    return `A switch of this container takes about ${Math.round(fixedMs)} ms without any memory: allow a longer --max-downtime.`;
  }
  const slower = autoConverge ? "" : ", let it be slowed down with --auto-converge";
  return `Allow a longer --max-downtime${slower}, or let the copy fetch its memory with --mode hybrid or post-copy.`;
}

function sentence(verdict: Verdict, target: Target): string {
  const { estimate } = verdict;
  const wanted = target.maxDowntimeMs === null ? "no limit given" : `${target.maxDowntimeMs} ms wanted`;
  switch (verdict.kind) {
    case "round":
      return `another round, since ${expectation(estimate)} (${wanted})`;
    case "switch":
      return `switch, since ${expectation(estimate)} (${wanted})`;
    case "stalled": {
      const why = verdict.why === "too-many-rounds" ? "there were too many rounds" : "rounds no longer pay";
      return `${why}: ${expectation(estimate)} (${wanted})`;
    }
  }
}

function expectation({ dirtyBytesPerSecond, bytesPerSecond, remainingBytes, downtimeMs }: Estimate): string {
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(bytes < 1e6 ? 3 : 1);
  return (
    `an estimated ${megabytes(remainingBytes)} MB remain, changed at ${megabytes(dirtyBytesPerSecond)} MB/s, sent at ` +
    `${megabytes(bytesPerSecond)} MB/s: ${Math.round(downtimeMs)} ms to be expected`
  );
}
