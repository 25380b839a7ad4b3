/** The end of a container that runs elsewhere: killed behind its lock, removed, and nothing left of it. */
import { dumpUnit } from "../criu/dump-container.ts";
import { stopTransientUnit } from "../host/transient-unit.ts";
import { unblockMac } from "../network-lock/mac-block.ts";
import { runPhase } from "./run-phase.ts";
import type { SourceContext } from "./source-context.ts";

const REMOVE_DEADLINE_MS = 30_000;

/** Precondition: the copy's "running" is durable. Postcondition: state `finished`. Idempotent until then. */
export async function finishSource({ host, record, container, transfer, phases }: SourceContext): Promise<void> {
  const { docker, identities, bars } = host;
  const { dockerId, migrationId } = record.entry;
  await record.transition("finishing");
  await runPhase(phases, "kill-source", async () => {
    await stopTransientUnit(dumpUnit(migrationId));
    await container.kill();
    // The drop rules die with the namespace, after the sockets.
    await docker.removeContainer(dockerId, { force: true, deadlineMs: REMOVE_DEADLINE_MS });
  });
  await runPhase(phases, "clean-source", async () => {
    await unblockMac(migrationId);
    await transfer.release();
    await bars.lift(dockerId);
    await identities.forget(dockerId);
  });
  await record.transition("finished");
}
