/**
 * Sets a node's wall clock by the host's. The clock that a virtual machine
 * boots with counts whole seconds; the hosts of a cluster keep theirs together
 * to milliseconds.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { LabError } from "../errors.ts";

const SAMPLES = 8;

/** In the node: answers every empty line with its time in seconds; a number shifts the clock by so many. */
export const CLOCK_PROGRAM = `
import sys, time
for line in sys.stdin:
    if line.strip():
        time.clock_settime(time.CLOCK_REALTIME, time.time() + float(line))
    print("%.6f" % time.time(), flush=True)
`;

export interface ClockSample {
  /** Times of the host, milliseconds, before asking and after the answer. */
  readonly askedMs: number;
  readonly answeredMs: number;
  /** Time of the node, milliseconds. */
  readonly nodeMs: number;
}

/** By how many milliseconds the node is ahead of the host, by the sample that took the shortest. */
export function offsetMs(samples: readonly ClockSample[]): number {
  const [best] = [...samples].sort((a, b) => a.answeredMs - a.askedMs - (b.answeredMs - b.askedMs));
  if (best === undefined) throw new RangeError("no sample");
  return best.nodeMs - (best.askedMs + best.answeredMs) / 2;
}

/** `command` runs CLOCK_PROGRAM in the node. Gives by how much the clock still differs, milliseconds. */
export async function setClock(command: readonly string[], signal?: AbortSignal): Promise<number> {
  const [file = "", ...args] = command;
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"], ...(signal ? { signal } : {}) });
  const ended = once(child, "close");
  ended.catch(() => undefined);
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (line: string): Promise<ClockSample> => {
    const askedMs = Date.now();
    child.stdin.write(`${line}\n`);
    const { value, done } = await answers.next();
    if (done === true) throw new LabError("failed", "the node does not say what time it is");
    return { askedMs, answeredMs: Date.now(), nodeMs: Number(value) * 1000 };
  };
  const measure = async () => {
    const samples: ClockSample[] = [];
    while (samples.length < SAMPLES) samples.push(await ask(""));
    return offsetMs(samples);
  };
  try {
    await ask((-(await measure()) / 1000).toFixed(6));
    return await measure();
  } finally {
    child.stdin.end();
    await ended;
  }
}
