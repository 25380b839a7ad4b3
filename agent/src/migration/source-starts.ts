/**
 * Whoever starts or unpauses the container here, while its copy may run elsewhere, finds it frozen again: the runtime
 * `drayage` refuses such a start, plain runc knows nothing of it, and nobody refuses an unpause.
 *
 *   switching, after the freeze   the switch ends, the container runs on: what was sent is of no one moment
 *   sent                          frozen again, its memory is not served any more
 */
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { SourceContext } from "./source-context.ts";

const EVENTS = { type: ["container"], event: ["start", "unpause"] };

export interface StartActions {
  /** What the processes are now is not what they were when they were dumped. Rejects only when the agent stops. */
  hasRunOn(): Promise<void>;
  /** In `sent`. Idempotent; rejects only when the agent stops. */
  freeze(): Promise<void>;
}

/** What ends a switch in which the container did not stand still. */
export function setGoing(container: string, node: string): DrayError {
  return new DrayError("FREEZE_FAILED", `${container} was set going while it was dumped`, {
    node,
    remedy: "Do not start or unpause a container that is being moved; it runs on, migrate again.",
  });
}

/** From before the freeze until the signal fires: the way back and the end set it going, or stop it, themselves. Never rejects. */
export async function followStarts(
  { host, record, standstill, logger }: Pick<SourceContext, "host" | "record" | "standstill" | "logger">,
  actions: StartActions,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const notice of host.docker.events({ ...EVENTS, container: [record.entry.dockerId] }, signal)) {
      const { state } = record.entry;
      if (notice.kind === "event" && (state === "sent" || (state === "switching" && standstill.hasBegun))) {
        const { Action: event } = notice.event;
        logger.warn({ event }, "somebody has set the container going that stands still for its copy");
        await actions.hasRunOn();
      } else if (state === "sent") await actions.freeze();
    }
  } catch (thrown) {
    if (!signal.aborted) logger.error({ err: toDrayError(thrown) }, "starts of the container are not noticed any more");
  }
}
