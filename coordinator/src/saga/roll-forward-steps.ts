/**
 * The steps after the decision: activate and finish. The destination owns the
 * container; nothing here ever brings the source back.
 */
import { pauseAtMost } from "@drayage/shared/concurrency/pause.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Reason } from "@drayage/shared/errors/reason.ts";
import type { FinishResponse } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { backoffMs } from "./backoff.ts";
import { noteError } from "./abort-step.ts";
import { isDeposed, orderOf, ownerNow, type SagaContext } from "./context.ts";
import { drain } from "./drain.ts";
import { endMigration } from "./end.ts";
import { standingOf } from "./next-step.ts";
import { withSteps } from "./phase-times.ts";
import { runPhase } from "./run-phase.ts";

const ACTIVATE_MS = 60_000;
const FINISH_MS = 120_000;
/** A link that is slow, or cut for a while, is no reason to ask again. */
const FETCH_MS = 24 * 60 * 60_000;

/** Answers after which the prepared copy cannot be brought to life by asking again. */
const COPY_IS_LOST: ReadonlySet<Reason> = new Set(["NOT_FOUND", "NOT_OWNER", "CRIU_RESTORE_FAILED"]);

/** Thaws the copy, and lets it fetch what memory it lacks; tries until it runs and is whole, or is lost. */
export async function activateStep(context: SagaContext): Promise<void> {
  if ((await thaw(context)) === "fetching") await fetchMemory(context);
}

/** "fetching" if the copy runs without all of its memory. */
async function thaw(context: SagaContext): Promise<"fetching" | "settled"> {
  const { journal, agents, leadership } = context;
  const { destination, epoch } = journal.record;
  return await runPhase(context, "activate", { journal: "before" }, () =>
    untilItRuns(context, "activate", "settled", async () => {
      const request = { order: orderOf(context), epoch: epoch + 1 };
      const options = { deadlineMs: ACTIVATE_MS, signal: leadership.lost };
      const answer = await agents.of(destination).activate(request, options);
      noteThaw(context, answer.thawedAtMs);
      journal.note({ phases: withSteps(journal.record.phases, answer.steps) });
      return answer.fetching ? "fetching" : "settled";
    }),
  );
}

/** The copy runs; follows its memory until all is there. */
async function fetchMemory(context: SagaContext): Promise<void> {
  const { journal, agents, leadership } = context;
  const { destination } = journal.record;
  await runPhase(context, "fetch", { journal: "before" }, () =>
    untilItRuns(context, "fetch", undefined, async () => {
      const options = { deadlineMs: FETCH_MS, signal: leadership.lost };
      const stream = agents.of(destination).fetch({ order: orderOf(context) }, options);
      const result = await drain(stream, destination, (progress) => journal.progress(progress));
      const { bytes, faults, longestWaitMs, meanWaitMs } = result;
      journal.note({
        phases: withSteps(journal.record.phases, result.steps),
        wireBytes: journal.record.wireBytes + result.wireBytes,
        decisions: [
          ...journal.record.decisions,
          `post-copy: ${(bytes / 1e6).toFixed(1)} MB fetched while the container ran; it waited ${faults} times for ` +
            `a page, ${meanWaitMs.toFixed(2)} ms each, ${longestWaitMs.toFixed(1)} ms at most`,
        ],
      });
    }),
  );
}

/** Repeats an order to the destination until it is answered, or the owner key says more than any answer, or the copy is lost. */
async function untilItRuns<T>(context: SagaContext, name: string, settled: T, order: () => Promise<T>): Promise<T> {
  const { journal, leadership, logger, times } = context;
  const { destination } = journal.record;
  const startedAt = performance.now();
  for (let attempt = 0; ; attempt++) {
    try {
      return await order();
    } catch (thrown) {
      const error = toDrayError(thrown);
      if (isDeposed(context, error)) throw error;
      logger.warn(
        { migration_id: journal.record.id, reason: error.reason, of_node: destination },
        `${name}: ${error.message}`,
      );
      const standing = standingOf(journal.record, await ownerNow(context));
      if (standing === "destination-runs") return settled;
      // The destination has given the container back: the next step is the way back.
      if (standing === "source-runs") {
        noteError(context, error);
        return settled;
      }
      // An agent that was just restarted may not have found its copy again: only an answer that lasts counts.
      if (performance.now() - startedAt > times.graceMs) {
        if (COPY_IS_LOST.has(error.reason)) {
          await endAsLost(context, error);
          return settled;
        }
        await sayAway(context, error.message);
      }
    }
    await pauseAtMost(backoffMs(attempt), leadership.lost);
    leadership.lost.throwIfAborted();
  }
}

async function endAsLost(context: SagaContext, error: DrayError): Promise<void> {
  const { reason, message, node } = error;
  noteError(context, new DrayError(reason, message, { node, remedy: remedyOfLoss(context, reason), cause: error }));
  await endMigration(context, "failed", lostText(context, message));
}

/** What an operator can do, and no program may: whether the copy has run is not known, or it has. */
function remedyOfLoss({ journal }: SagaContext, reason: Reason): string {
  const { id, container, source, destination, phase } = journal.record;
  // Without its memory it stands frozen there, unless its host was restarted.
  const first =
    phase === "fetch" || reason === "CRIU_RESTORE_FAILED"
      ? `Remove what is left of it on ${destination}: docker rm --force ${container}. `
      : "";
  return (
    `${first}Bring it back on ${source} from where it was frozen with \`dray migration cancel ${id} --allow-progress-loss\`: ` +
    `what the copy may have done on ${destination} is given up. To start it anew instead, end it first: ` +
    `docker kill ${container} on ${source}.`
  );
}

/** Clears both sides after the destination's durable "running". */
export async function finishStep(context: SagaContext): Promise<void> {
  const { journal } = context;
  const { source, destination } = journal.record;
  const warnings = await runPhase(context, "finish", { journal: "before" }, async () => {
    const [left, arrived] = await Promise.all([finishOn(context, source), finishOn(context, destination)]);
    if (journal.record.downtimeMs === null) noteThaw(context, arrived.thawedAtMs);
    return [...left.warnings, ...arrived.warnings];
  });
  // Whatever was in the way before, the container runs where it was sent.
  journal.note({ error: null });
  await endMigration(context, "completed", [modeReason(journal.record.reason), ...warnings].join("; "));
}

async function finishOn(context: SagaContext, node: string): Promise<FinishResponse> {
  const { journal, agents, leadership, logger, times } = context;
  const startedAt = performance.now();
  for (let attempt = 0; ; attempt++) {
    try {
      const answer = await agents
        .of(node)
        .finish({ order: orderOf(context) }, { deadlineMs: FINISH_MS, signal: leadership.lost });
      return { ...answer, warnings: answer.warnings.map((warning) => `${node}: ${warning}`) };
    } catch (thrown) {
      const error = toDrayError(thrown);
      if (isDeposed(context, error)) throw error;
      logger.warn({ migration_id: journal.record.id, reason: error.reason, node }, `finish: ${error.message}`);
      const waitedMs = performance.now() - startedAt;
      if (waitedMs > times.tidyMs) {
        const warning = `${node} has not cleaned up yet (${error.message}); its agent does so when it is back`;
        return { warnings: [warning], thawedAtMs: 0 };
      }
      if (waitedMs > times.graceMs) await sayRuns(context, node);
    }
    await pauseAtMost(backoffMs(attempt), leadership.lost);
    leadership.lost.throwIfAborted();
  }
}

function noteThaw(context: SagaContext, thawedAtMs: number): void {
  const { lockedAtMs } = context.journal.record;
  if (lockedAtMs === null || thawedAtMs <= 0) return;
  context.journal.note({ downtimeMs: Math.max(0, thawedAtMs - lockedAtMs) });
}

/** Tells those who wait that the container runs, while clean-up on a node still waits for that node. */
async function sayRuns(context: SagaContext, node: string): Promise<void> {
  const { journal } = context;
  if (journal.record.outcome === "completed") return;
  await journal.write("outcome-completed", {
    outcome: "completed",
    error: null,
    totalMs: Date.now() - journal.record.startedAtMs,
    reason: `${modeReason(journal.record.reason)}; ${node} does not answer and will be cleaned up when it is back`,
  });
}

async function sayAway(context: SagaContext, message: string): Promise<void> {
  const { journal } = context;
  const { source, destination } = journal.record;
  if (journal.record.outcome === "unknown") return;
  await journal.write("outcome-unknown", {
    outcome: "unknown",
    reason:
      journal.record.phase === "fetch"
        ? `the container runs on ${destination}, whose agent does not answer (${message}); what memory it lacks is on ${source}, which stays frozen. Bring the agent on ${destination} back, and the migration goes on by itself`
        : `the container belongs to ${destination}, which does not answer (${message}); the copy on ${source} stays frozen and must not be resumed. Bring ${destination} back: its agent starts the prepared copy and the migration goes on by itself`,
  });
}

function lostText(context: SagaContext, message: string): string {
  const { source, destination, phase } = context.journal.record;
  if (phase === "fetch") {
    return `the container ran on ${destination} and is lost there with the memory that it had not fetched yet (${message}); the copy on ${source} is kept frozen as it was before; others have seen the container since`;
  }
  return `the container belongs to ${destination}, but the copy prepared there is lost (${message}); the copy on ${source} is kept frozen, with its volumes untouched, as the newest state`;
}

/** The part of the reason that was there at acceptance: which mode, and why. */
function modeReason(reason: string): string {
  return reason.split("; ", 1)[0] ?? "";
}
