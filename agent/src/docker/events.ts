/** Docker's event stream, cut into events, held open across restarts of the daemon. */
import { setTimeout as delay } from "node:timers/promises";
import type { Readable } from "node:stream";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { DockerNotice, Filters } from "./docker-port.ts";
import { dockerError } from "./errors.ts";
import type { Transport } from "./transport.ts";
import type { DockerEvent } from "./types.ts";

const FIRST_RETRY_MS = 200;
const LAST_RETRY_MS = 5_000;
/** A line longer than this is no event. */
const LINE_LIMIT_CHARS = 4 * 1024 * 1024;

/** Events until the stream ends. */
async function* eventsOf(stream: Readable): AsyncIterable<DockerEvent> {
  let rest = "";
  stream.setEncoding("utf8");
  for await (const chunk of stream as AsyncIterable<string>) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > LINE_LIMIT_CHARS) throw new DrayError("DOCKER_ERROR", "Docker: an event without end");
    for (const line of lines) if (line.trim() !== "") yield JSON.parse(line) as DockerEvent;
  }
}

/**
 * A resync first, then events; when the connection is lost, a new one and another resync. Ends when the signal is
 * aborted, without an error.
 */
export async function* followEvents(
  transport: Transport,
  filters: Filters,
  signal: AbortSignal,
): AsyncIterable<DockerNotice> {
  let retryMs = FIRST_RETRY_MS;
  while (!signal.aborted) {
    try {
      const stream = await transport.stream(
        {
          method: "GET",
          path: "/events",
          query: { filters: JSON.stringify(filters) },
          operation: "follow events",
        },
        { signal },
      );
      const destroy = (): void => void stream.destroy();
      signal.addEventListener("abort", destroy, { once: true });
      try {
        yield { kind: "resync" };
        retryMs = FIRST_RETRY_MS;
        for await (const event of eventsOf(stream)) yield { kind: "event", event };
      } finally {
        signal.removeEventListener("abort", destroy);
        stream.destroy();
      }
    } catch (thrown) {
      if (signal.aborted) return;
      const error = dockerError(thrown, "follow events");
      // A damaged line or a lost connection both heal by connecting anew; anything else would go on for ever unseen.
      if (error.reason === "INTERNAL") throw error;
    }
    await delay(retryMs, undefined, { signal }).catch(() => undefined);
    retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
  }
}
