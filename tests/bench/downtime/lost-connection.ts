/** Measures a move that no connection survives: from the stop at the old place to the first reply at the new one. */
import type { Endpoint } from "../../../deploy/held-client/line-connection.ts";
import { type NodeStream, overStream, STREAM_DEADLINE_MS } from "../../harness/node-stream.ts";
import type { TestLab } from "../../harness/test-lab.ts";
import { firstReply } from "./first-reply.ts";
import { stopped } from "./freeze-watch.ts";
import type { Measurement } from "./way.ts";

/** The receiving script goes on to make the copy run. */
export interface Move extends NodeStream {
  /** The process on the host that will be stopped. */
  readonly pid: number;
  /** Where the copy will answer. */
  readonly endpoint: Endpoint;
}

export async function measureMove(lab: TestLab, move: Move): Promise<Measurement> {
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, AbortSignal.timeout(STREAM_DEADLINE_MS)]);
  try {
    return await overStream(lab, move, signal, async (send) => {
      const replied = firstReply(move.endpoint, signal);
      const frozen = stopped(move.pid, signal);
      const beganAt = performance.now();
      const [repliedAt, frozenAt] = await Promise.all([replied, frozen, send()]);
      return { downtimeMs: repliedAt - frozenAt, totalMs: performance.now() - beganAt };
    });
  } finally {
    ended.abort(new Error("the measurement has ended"));
  }
}
