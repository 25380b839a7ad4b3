/**
 * Whoever starts or unpauses the container here, while its copy may run elsewhere, finds it frozen again: the runtime
 * `drayage` refuses such a start, plain runc knows nothing of it, and nobody refuses an unpause.
 */
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { SourceContext } from "./source-context.ts";

const EVENTS = { type: ["container"], event: ["start", "unpause"] };

export interface StartActions {
  /** What the processes are now is not what they were when they were dumped. */
  hasRunOn(): void;
  /** Idempotent; rejects only when the agent stops. */
  freeze(): Promise<void>;
}

/** In `sent`, until the signal fires: the way back and the end set it going, or stop it, themselves. Never rejects. */
export async function followStarts(
  { host, record, logger }: Pick<SourceContext, "host" | "record" | "logger">,
  actions: StartActions,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const notice of host.docker.events({ ...EVENTS, container: [record.entry.dockerId] }, signal)) {
      if (record.entry.state !== "sent") continue;
      if (notice.kind === "event") {
        const { Action: event } = notice.event;
        logger.warn({ event }, "somebody has set the container going that stands still for its copy");
        actions.hasRunOn();
      }
      await actions.freeze();
    }
  } catch (thrown) {
    if (!signal.aborted) logger.error({ err: toDrayError(thrown) }, "starts of the container are not noticed any more");
  }
}
