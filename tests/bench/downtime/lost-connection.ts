/** Measures a move that no connection survives: from the stop at the old place to the first reply at the new one. */
import type { Endpoint } from "../../../deploy/held-client/line-connection.ts";
import type { TestLab } from "../../harness/test-lab.ts";
import { firstReply } from "./first-reply.ts";
import { stopped } from "./freeze-watch.ts";
import type { Measurement } from "./way.ts";

const DEADLINE_MS = 300_000;

export interface Move {
  readonly source: string;
  readonly destination: string;
  /** Shell script for the source; its last step sends to the destination. */
  readonly send: string;
  /** Shell script for the destination; begins to listen, prints a line when it does, and ends with the copy running. */
  readonly receive: string;
  /** The process on the host that will be stopped. */
  readonly pid: number;
  /** Where the copy will answer. */
  readonly endpoint: Endpoint;
}

export async function measureMove(lab: TestLab, move: Move): Promise<Measurement> {
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, AbortSignal.timeout(DEADLINE_MS)]);
  const shell = (node: string, script: string) =>
    lab.exec(node, ["/bin/sh", "-euc", script], { deadlineMs: DEADLINE_MS, signal });
  const listening = Promise.withResolvers<void>();
  const received = lab.exec(move.destination, ["/bin/sh", "-euc", move.receive], {
    deadlineMs: DEADLINE_MS,
    signal,
    onStderrLine: (line) => {
      if (line === LISTENING) listening.resolve();
    },
  });
  received.catch(listening.reject);
  try {
    await listening.promise;
    const replied = firstReply(move.endpoint, signal);
    const frozen = stopped(move.pid, signal);
    const beganAt = performance.now();
    const [repliedAt, frozenAt] = await Promise.all([replied, frozen, shell(move.source, move.send), received]);
    return { downtimeMs: repliedAt - frozenAt, totalMs: Math.max(repliedAt, performance.now()) - beganAt };
  } finally {
    ended.abort(new Error("the measurement has ended"));
    await Promise.allSettled([received]);
  }
}

const LISTENING = "listening";
const PORT = 7999;

/** For `Move.receive`: what comes over the network, on stdout. */
export function receiving(into: string): string {
  return `echo ${LISTENING} >&2; nc -l -N ${PORT} | ${into}`;
}

/** For `Move.send`: sends stdin. */
export function sendingTo(address: string): string {
  return `nc -N ${address} ${PORT}`;
}
