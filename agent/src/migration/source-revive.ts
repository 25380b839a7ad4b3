/** A frozen container runs again where it was, or stands still again after a crash of the agent. */
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { dumpUnit } from "../criu/dump-container.ts";
import { endRepairMode } from "../criu/repair-mode.ts";
import { STARTS_WITH_DOCKER } from "../docker/restart-policy.ts";
import { cgroupPids } from "../host/cgroup.ts";
import { endTransientUnit } from "../host/transient-unit.ts";
import type { SourceEntry } from "../journal/entry.ts";
import { unblockMac } from "../network-lock/mac-block.ts";
import { unlock } from "../network-lock/source-lock.ts";
import { runPhase } from "./run-phase.ts";
import type { SourceContext } from "./source-context.ts";

/** CRIU ended in the middle of a dump may cost a process; one that has lost its agent ends by itself. */
const DUMP_PATIENCE_MS = 60_000;

/**
 * Everything undone, in the order that lets no packet be lost: thaw last.
 *
 * Precondition: this agent's own transaction, or nothing entered in etcd.
 * Postcondition: state `aborted`. Idempotent until then. Once the state is
 * `aborting`, what `refrozen` gives settles when nothing freezes the container any more.
 */
export async function reviveSource(
  context: SourceContext,
  reason: string,
  refrozen: () => Promise<unknown>,
): Promise<void> {
  const { host, record, transfer, phases, standstill } = context;
  const { frozen } = record.entry;
  await record.transition("aborting", { error: reason });
  await refrozen().catch(() => undefined);
  if (frozen !== null) await runPhase(phases, "revive", () => runAgain(context, frozen));
  else await endPreCopy(context);
  await transfer.release();
  await record.transition("aborted", { frozenMs: standstill.lastedMs });
  host.metrics.rollbacksTotal.inc({ outcome: "rolled_back" });
}

/** An agent that was killed in a pre-copy may have left the container in a moment in which it stood still. */
export async function endPreCopy({ container }: SourceContext): Promise<void> {
  const inspect = await container.inspect();
  if (inspect?.State.Running && !inspect.State.Paused) await container.thaw();
}

async function runAgain(context: SourceContext, frozen: NonNullable<SourceEntry["frozen"]>): Promise<void> {
  const { docker } = context.host;
  const { record, container, standstill } = context;
  const { restartPolicy } = frozen;
  const { dockerId, migrationId } = record.entry;
  await endTransientUnit(dumpUnit(migrationId), DUMP_PATIENCE_MS);
  const inspect = await container.inspect();
  if (inspect?.State.Paused) standstill.beganAtMost(Date.now() - frozen.lockedAtMs);
  if (inspect?.State.Running) {
    // runc resumes only what is frozen, and pauses only what is not. After a crash the freezer may have been
    // shut behind Docker's back, or opened by a CRIU that was stopped in the middle.
    if (inspect.State.Paused) await container.freeze();
    await mendConnections(context);
    await unlock({ pid: inspect.State.Pid, migrationId });
    await unblockMac(migrationId);
    if (inspect.State.Paused) await docker.unpauseContainer(dockerId);
    else await container.thaw();
  } else {
    await unblockMac(migrationId);
  }
  standstill.end();
  await context.host.bars.lift(dockerId);
  if (inspect === null) return;
  await docker.updateRestartPolicy(dockerId, restartPolicy);
  // It died with its host while the policy was off: what Docker would have done at its start is still to do.
  if (!inspect.State.Running && STARTS_WITH_DOCKER.has(restartPolicy.Name)) await docker.startContainer(dockerId);
}

/**
 * Nobody may know whether a CRIU has ended by itself. Where this fails the container runs all the same: connections
 * are less than the container.
 */
async function mendConnections({ container, logger }: SourceContext): Promise<void> {
  try {
    const sockets = await endRepairMode(await cgroupPids(await container.cgroup()));
    if (sockets > 0) logger.warn({ sockets }, "CRIU had left connections in repair mode");
  } catch (thrown) {
    logger.error({ err: toDrayError(thrown) }, "connections that CRIU has left in repair mode are lost");
  }
}

/** CRIU thaws while it dumps; after a crash of its caller nobody may have frozen again. */
export async function ensureFrozen({ record, container }: SourceContext): Promise<void> {
  const mayFreeze = () => record.entry.state === "sent" || record.entry.state === "finishing";
  if (!mayFreeze()) return;
  const inspect = await container.inspect();
  if (inspect?.State.Running && mayFreeze()) await container.freeze();
}
