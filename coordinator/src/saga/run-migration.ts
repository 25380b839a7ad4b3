/**
 * Runs one migration to its end, from wherever its record and the owner key
 * say it is. Returns when the migration has ended, or when this leader is none
 * any more: then the next one finds it by the same two keys.
 */
import { pauseAtMost } from "@drayage/shared/concurrency/pause.ts";
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { OwnerRecord } from "@drayage/shared/state/owner.ts";
import { backoffMs } from "./backoff.ts";
import { abortStep, noteError } from "./abort-step.ts";
import { isDeposed, ownerNow, type SagaContext } from "./context.ts";
import { endMigration } from "./end.ts";
import { reserveAndSync, switchAndCommit } from "./forward-steps.ts";
import { nextStep, type Step } from "./next-step.ts";
import { activateStep, finishStep } from "./roll-forward-steps.ts";

export async function runMigration(context: SagaContext): Promise<void> {
  const { journal, leadership, logger } = context;
  let failures = 0;
  let known: OwnerRecord | undefined;
  while (!leadership.lost.aborted) {
    try {
      const owner = known ?? (await ownerNow(context));
      known = undefined;
      const step = nextStep(journal.record, owner);
      logger.debug({ migration_id: journal.record.id, step }, "next step");
      if (step === "none") return;
      known = await perform(step, context, owner);
    } catch (thrown) {
      const error = toDrayError(thrown);
      if (isDeposed(context, error))
        return logger.info({ migration_id: journal.record.id }, `left to the next leader: ${error.message}`);
      // Nothing but etcd or a mistake of ours fails here; both are tried again.
      logger.error({ err: thrown, migration_id: journal.record.id }, "the saga could not go on");
      await pauseAtMost(backoffMs(failures++), leadership.lost);
    }
  }
}

/** Does one step; returns the owner if the step has just learned it. */
async function perform(
  step: Exclude<Step, "none">,
  context: SagaContext,
  owner: OwnerRecord | null,
): Promise<OwnerRecord | undefined> {
  switch (step) {
    case "reserve":
      await forward(context, () => reserveAndSync(context));
      return undefined;
    case "switch":
      return await forward(context, () => switchAndCommit(context));
    case "activate":
      await activateStep(context);
      return undefined;
    case "finish":
      await finishStep(context);
      return undefined;
    case "abort":
      await abortStep(context);
      return undefined;
    case "give-up":
      await endMigration(
        context,
        "unknown",
        `the owner key says ${owner === null ? "nothing" : JSON.stringify(owner)}, which this migration did not write; nothing was touched`,
      );
      return undefined;
  }
}

/** A step before the decision: whatever fails in it leads to the way back. */
async function forward<T>(context: SagaContext, step: () => Promise<T>): Promise<T | undefined> {
  const { journal, stop, logger } = context;
  try {
    stop.throwIfAborted();
    return await step();
  } catch (thrown) {
    const error = toDrayError(stop.aborted && !context.leadership.lost.aborted ? stop.reason : thrown);
    if (isDeposed(context, error)) throw error;
    logger.warn(
      { migration_id: journal.record.id, phase: journal.record.phase, reason: error.reason, of_node: error.node },
      error.message,
    );
    noteError(context, error);
    await journal.write("phase-abort", { phase: "abort" });
    return undefined;
  }
}
