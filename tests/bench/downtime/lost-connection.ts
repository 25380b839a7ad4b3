/** Measures a move that no connection survives: from the stop at the old place to the first reply at the new one. */
import type { Endpoint } from "../../../deploy/held-client/line-connection.ts";
import type { TestLab } from "../../harness/test-lab.ts";
import { firstReply } from "./first-reply.ts";
import { stopped } from "./freeze-watch.ts";
import type { Measurement } from "./way.ts";

const DEADLINE_MS = 300_000;
/**
 * A script with the weight that Drayage gives itself with the scheduler during a switch, in a session of its own:
 * who goes first on a busy machine is not what is compared.
 */
const FIRST = ["setsid", "--wait", "/bin/bash", "-euc", 'echo -15 >/proc/self/autogroup || :; eval "$1"', "bash"];

export interface Move {
  readonly source: string;
  readonly destination: string;
  /** Shell script for the source; its last step sends to the destination. */
  readonly send: string;
  /** Shell script for the destination: `receiving(…)`, then what makes the copy run. */
  readonly receive: string;
  /** The process on the host that will be stopped. */
  readonly pid: number;
  /** Where the copy will answer. */
  readonly endpoint: Endpoint;
}

export async function measureMove(lab: TestLab, move: Move): Promise<Measurement> {
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, AbortSignal.timeout(DEADLINE_MS)]);
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

/** Copies between nodes: what `send` writes to the stream is read by `receive`. */
export async function copyBetween(lab: TestLab, scripts: Omit<Move, "pid" | "endpoint">): Promise<void> {
  await overStream(lab, scripts, AbortSignal.timeout(DEADLINE_MS), (send) => send());
}

/** Starts the receiver and, when it listens, `body`; its `send` ends when both scripts have ended. */
async function overStream<T>(
  lab: TestLab,
  { source, destination, send, receive }: Omit<Move, "pid" | "endpoint">,
  signal: AbortSignal,
  body: (send: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const listening = Promise.withResolvers<void>();
  const options = { deadlineMs: DEADLINE_MS, signal };
  const onStderrLine = (line: string) => {
    if (line === LISTENING) listening.resolve();
  };
  const received = lab.exec(destination, [...FIRST, receive], { ...options, onStderrLine });
  received.catch(listening.reject);
  await listening.promise;
  return await body(async () => {
    await Promise.all([received, lab.exec(source, [...FIRST, send], options)]);
  });
}

const LISTENING = "listening";
const PORT = 7999;

/** For `Move.receive`: what comes over the network goes into this command. */
export function receiving(into: string): string {
  return [
    "set -o pipefail",
    `{ nc -l -N ${PORT} | ${into}; } & receiver=$!`,
    `until ss --no-header --listening --tcp --numeric "sport = :${PORT}" | grep -q .; do sleep 0.01; done`,
    `echo ${LISTENING} >&2`,
    "wait $receiver",
  ].join("\n");
}

/** For `Move.send`: sends stdin. */
export function sendingTo(address: string): string {
  return `nc -N ${address} ${PORT}`;
}
