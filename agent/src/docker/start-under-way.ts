/** Whether Docker is in the middle of a start that somebody else has called. */
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { DockerPort } from "./docker-port.ts";

const ANSWER_LIMIT_MS = 3_000;

/**
 * Docker keeps a container locked for as long as it starts it, so that an inspection waits; one that is answered says
 * that no start is under way (any more). Takes `limitMs` to say yes. DOCKER_UNAVAILABLE, TIMEOUT if Docker answers
 * nothing at all.
 */
export async function isBeingStarted(
  docker: Pick<DockerPort, "info" | "inspectContainer">,
  dockerId: string,
  limitMs = ANSWER_LIMIT_MS,
): Promise<boolean> {
  // A Docker that is slow for everybody must not be taken for one that is starting this container.
  await docker.info();
  try {
    await docker.inspectContainer(dockerId, { deadlineMs: limitMs });
    return false;
  } catch (thrown) {
    const { reason } = toDrayError(thrown);
    if (reason === "TIMEOUT") return true;
    if (reason === "NOT_FOUND") return false;
    throw thrown;
  }
}
