/**
 * The threads of an agent that run lanes: each encrypts, checks and compresses what goes over its connections, so that
 * the main thread, which one core carries, has only to read and to write memory. One lane of a transfer is one
 * connection of one thread, at both ends.
 */
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { DrayError } from "../../errors/dray-error.ts";
import type { Identity } from "../../identity/identity.ts";
import { errorOf, failureOf } from "../messages.ts";
import { unexpected } from "../page-door.ts";
import type { LaneArrival, LaneDial, LaneOrder, LaneThreadData, LaneThreadReport } from "./lane-messages.ts";

/** Beside the program's bundle in the package, a source beside this one otherwise. */
const ENTRY = new URL(import.meta.url.endsWith(".ts") ? "./lane-thread.ts" : "./lane-thread.mjs", import.meta.url);

export interface LaneThreadsOptions {
  readonly identity: Identity;
  readonly count: number;
  readonly host: string;
  /** The first listens here, the others on the ports after it; 0 for any. */
  readonly firstPort: number;
  /** Told of what no caller sees: refused peers, a thread that has died. */
  readonly onIncident: (message: string, details: Record<string, unknown>) => void;
}

export interface LaneThreads {
  /** Where each listens; none once a thread has died. */
  readonly ports: readonly number[];
  /** Lets the thread of this lane connect; reports come from the port that is returned. */
  dial(dial: Omit<LaneDial, "port">): MessagePort;
  /** Whom to ask about lanes that arrive; the arrival has come on the port of that lane. Before, all are refused. */
  setArrivalJudge(judge: (arrival: LaneArrival) => void): void;
  /** Ends the threads, with all lanes. */
  close(): Promise<void>;
}

/** BAD_CONFIG if an address cannot be had. */
export async function openLaneThreads(options: LaneThreadsOptions): Promise<LaneThreads> {
  const { identity, count, host, firstPort, onIncident } = options;
  let judge = refuseLane;
  let ports: readonly number[] = [];
  let isClosing = false;
  const listening = Array.from({ length: count }, () => Promise.withResolvers<number>());
  const workers = listening.map(({ resolve, reject }, lane) => {
    const data: LaneThreadData = { identity, host, tcpPort: firstPort === 0 ? 0 : firstPort + lane };
    const worker = new Worker(ENTRY, { workerData: data, name: `page-lane-${lane}` });
    worker.on("message", (report: LaneThreadReport) => {
      if (report.kind === "listening") resolve(report.tcpPort);
      else if (report.kind === "failed") reject(errorOf(report.failure));
      else if (report.kind === "incident") onIncident(report.message, report.details);
      else if (report.hello.lane === lane) judge(report);
      else refuseLane(report);
    });
    worker.on("error", (error: Error) =>
      onIncident("the thread of a page lane failed", { lane, error: error.message }),
    );
    worker.on("exit", () => {
      reject(new DrayError("INTERNAL", `the thread of page lane ${lane} ended before it listened`));
      ports = [];
      if (!isClosing) onIncident("page lanes are not used any more until the agent is restarted", { lane });
    });
    return worker;
  });
  const close = async () => {
    isClosing = true;
    await Promise.all(workers.map((worker) => worker.terminate()));
  };
  try {
    ports = await Promise.all(listening.map(({ promise }) => promise));
  } catch (thrown) {
    await close();
    throw thrown;
  }
  return {
    get ports() {
      return ports;
    },
    dial(dial) {
      const { port1, port2 } = new MessageChannel();
      const order: LaneDial = { ...dial, port: port2 };
      workers[dial.hello.lane]?.postMessage(order, [port2]);
      return port1;
    },
    setArrivalJudge(chosen) {
      judge = chosen;
    },
    close,
  };
}

/** As one without a transfer's token. */
export function refuseLane({ port }: LaneArrival): void {
  port.postMessage({ kind: "refuse", failure: failureOf(unexpected()) } satisfies LaneOrder);
  port.close();
}
