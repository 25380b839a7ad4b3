/**
 * Whoever starts or unpauses the container here, while its copy may run elsewhere, finds it frozen again: the runtime
 * `drayage` refuses such a start, plain runc knows nothing of it, and nobody refuses an unpause.
 */
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { SourceContext } from "./source-context.ts";

const EVENTS = { type: ["container"], event: ["start", "unpause"] };

/**
 * Calls `freeze` whenever the container may have been set going, until the signal fires; never rejects. A failure is
 * told, and tried again with the next event.
 */
export async function followStarts(
  { host, record, logger }: Pick<SourceContext, "host" | "record" | "logger">,
  freeze: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const notice of host.docker.events({ ...EVENTS, container: [record.entry.dockerId] }, signal)) {
      if (notice.kind === "event")
        logger.warn(
          { event: notice.event.Action },
          "somebody has set the container going that stands still for its copy",
        );
      await freeze().catch((thrown: unknown) => {
        if (!signal.aborted) logger.error({ err: toDrayError(thrown) }, "the container could not be frozen again");
      });
    }
  } catch (thrown) {
    if (!signal.aborted) logger.error({ err: toDrayError(thrown) }, "starts of the container are not noticed any more");
  }
}
