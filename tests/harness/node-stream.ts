/** One stream from a script in one node to a script in another, over the lab's network. */
import type { TestLab } from "./test-lab.ts";

export const STREAM_DEADLINE_MS = 300_000;
const LISTENING = "listening";
const PORT = 7999;
/**
 * A script with the weight that Drayage gives itself with the scheduler during a switch, in a session of its own:
 * who goes first on a busy machine is not what is compared.
 */
const FIRST = ["setsid", "--wait", "/bin/bash", "-euc", 'echo -15 >/proc/self/autogroup || :; eval "$1"', "bash"];

export interface NodeStream {
  readonly source: string;
  readonly destination: string;
  /** Shell script for the source; its last step sends to the destination. */
  readonly send: string;
  /** Shell script for the destination: `receiving(…)`, then whatever it does with it. */
  readonly receive: string;
}

/** Copies between nodes: what `send` writes to the stream is read by `receive`. */
export async function copyBetween(lab: TestLab, stream: NodeStream): Promise<void> {
  await overStream(lab, stream, AbortSignal.timeout(STREAM_DEADLINE_MS), (send) => send());
}

/** Starts the receiver and, when it listens, `body`; its `send` ends when both scripts have ended. */
export async function overStream<T>(
  lab: TestLab,
  { source, destination, send, receive }: NodeStream,
  signal: AbortSignal,
  body: (send: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const listening = Promise.withResolvers<void>();
  const options = { deadlineMs: STREAM_DEADLINE_MS, signal };
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

/** For `NodeStream.receive`: what comes over the network goes into this command. */
export function receiving(into: string): string {
  return [
    "set -o pipefail",
    `{ nc -l -N ${PORT} | ${into}; } & receiver=$!`,
    `until ss --no-header --listening --tcp --numeric "sport = :${PORT}" | grep -q .; do sleep 0.01; done`,
    `echo ${LISTENING} >&2`,
    "wait $receiver",
  ].join("\n");
}

/** For `NodeStream.send`: sends stdin. */
export function sendingTo(address: string): string {
  return `nc -N ${address} ${PORT}`;
}
