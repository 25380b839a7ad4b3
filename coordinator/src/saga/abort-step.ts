/**
 * The way back: the source first, since only its own transaction says that it
 * may run; then the destination. If the commit has won meanwhile, nothing is
 * undone and the saga goes forward.
 */
import { pauseAtMost } from "@drayage/shared/concurrency/pause.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { AbortResponse } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { backoffMs } from "./backoff.ts";
import { isDeposed, orderOf, ownerNow, type SagaContext } from "./context.ts";
import { endMigration } from "./end.ts";
import { standingOf } from "./next-step.ts";
import { withSteps } from "./phase-times.ts";
import { runPhase } from "./run-phase.ts";

const ABORT_MS = 60_000;

export async function abortStep(context: SagaContext): Promise<void> {
  if (context.journal.record.error === null) noteError(context, sourceTookBack(context));
  const source = await runPhase(context, "abort", { journal: "before" }, async () => {
    const verdict = await abortSource(context);
    if (verdict !== "commit-won") await abortDestination(context);
    return verdict;
  });
  if (source === "commit-won") return;
  const { error, source: node } = context.journal.record;
  const cause = error?.message ?? "";
  if (source === "running") await endMigration(context, "rolled_back", `rolled back: ${cause}`);
  else await endMigration(context, "failed", `${cause}; and the container does not run on ${node} any more`);
}

/** Records why a migration goes back, once: the first error is the cause. */
export function noteError(context: SagaContext, error: DrayError): void {
  const { journal } = context;
  const { phase } = journal.record;
  journal.note({
    error: { reason: error.reason, message: error.message, remedy: error.remedy, phase, node: error.node },
  });
}

async function abortSource(context: SagaContext): Promise<"running" | "not-running" | "commit-won"> {
  const { journal, agents, leadership, logger, times } = context;
  const { source } = journal.record;
  const startedAt = performance.now();
  for (let attempt = 0; ; attempt++) {
    const standing = standingOf(journal.record, await ownerNow(context));
    if (standing === "committed" || standing === "destination-runs") return "commit-won";
    try {
      const request = { order: orderOf(context), reason: journal.record.error?.message ?? "" };
      const answer = await agents.of(source).abort(request, { deadlineMs: ABORT_MS, signal: leadership.lost });
      noteSteps(context, answer);
      const after = standingOf(journal.record, await ownerNow(context));
      if (after === "committed" || after === "destination-runs") return "commit-won";
      if (after === "source-runs" || after === "not-entered") {
        if (answer.sourceRunning) journal.note({ frozenMs: answer.frozenMs });
        return answer.sourceRunning ? "running" : "not-running";
      }
      logger.warn({ migration_id: journal.record.id, standing: after }, "the source has not decided yet");
    } catch (thrown) {
      const error = toDrayError(thrown);
      if (isDeposed(context, error)) throw error;
      logger.warn(
        { migration_id: journal.record.id, reason: error.reason, of_node: source },
        `abort on the source: ${error.message}`,
      );
      sayWaiting(context, `waits for ${source}, the source, to say that the container runs: ${error.message}`);
    }
    if (performance.now() - startedAt > times.graceMs) await sayUnknown(context);
    await pauseAtMost(backoffMs(attempt), leadership.lost);
    leadership.lost.throwIfAborted();
  }
}

/** What the agent did, up to here and back. */
function noteSteps({ journal }: SagaContext, { steps }: AbortResponse): void {
  journal.note({ phases: withSteps(journal.record.phases, steps) });
}

/** The source has decided; what remains on the destination is rubbish, which its agent also removes by itself. */
async function abortDestination(context: SagaContext): Promise<void> {
  const { journal, agents, leadership, logger, times } = context;
  const { destination } = journal.record;
  const startedAt = performance.now();
  for (let attempt = 0; ; attempt++) {
    try {
      const request = { order: orderOf(context), reason: journal.record.error?.message ?? "" };
      noteSteps(
        context,
        await agents.of(destination).abort(request, { deadlineMs: ABORT_MS, signal: leadership.lost }),
      );
      return;
    } catch (thrown) {
      const error = toDrayError(thrown);
      if (isDeposed(context, error)) throw error;
      logger.warn(
        { migration_id: journal.record.id, reason: error.reason, of_node: destination },
        `abort on the destination: ${error.message}`,
      );
      const limit = `${Math.round(times.graceMs / 1000)} s`;
      sayWaiting(
        context,
        `waits up to ${limit} for ${destination} to clean up, else it does when it is back: ${error.message}`,
      );
    }
    if (performance.now() - startedAt > times.graceMs) return;
    await pauseAtMost(backoffMs(attempt), leadership.lost);
    leadership.lost.throwIfAborted();
  }
}

/** For who looks on: a roll-back takes no time otherwise. */
function sayWaiting({ journal }: SagaContext, message: string): void {
  journal.progress({ step: "abort", doneBytes: 0, totalBytes: 0, message, round: undefined, decision: "" });
}

/** Tells those who wait that this will take until the source is back; the saga keeps trying. */
async function sayUnknown(context: SagaContext): Promise<void> {
  const { journal } = context;
  const { source, error } = journal.record;
  if (journal.record.outcome === "unknown") return;
  await journal.write("outcome-unknown", {
    outcome: "unknown",
    reason: `${error?.message ?? "rolling back"}; node ${source} does not answer, so it is not known whether the container runs there. Nothing runs on the destination. Bring ${source} back: the roll-back goes on by itself`,
  });
}

function sourceTookBack(context: SagaContext): DrayError {
  const { source, cancelRequested } = context.journal.record;
  if (cancelRequested) return new DrayError("CANCELLED", "the migration was cancelled");
  return new DrayError("INTERNAL", `an earlier leader left the migration behind, and ${source} keeps the container`, {
    node: source,
    remedy: "Start the migration again.",
  });
}
