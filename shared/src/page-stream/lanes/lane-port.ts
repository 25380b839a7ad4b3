/** The main thread's end of a lane. */
import type { MessagePort, TransferListItem } from "node:worker_threads";
import { DrayError } from "../../errors/dray-error.ts";
import { errorOf } from "../messages.ts";
import type { LaneOrder, LaneReport } from "./lane-messages.ts";

export interface LanePortOptions {
  readonly onReport: (report: Exclude<LaneReport, { kind: "ended" }>) => void;
  /** Called once, unless `end` was: the connection is gone, or its thread. Nothing is called after it. */
  readonly onEnd: (error: DrayError) => void;
}

export class LanePort {
  readonly #port: MessagePort;
  #ended = false;

  constructor(port: MessagePort, { onReport, onEnd }: LanePortOptions) {
    this.#port = port;
    const finish = (error: DrayError) => {
      if (this.#ended) return;
      this.#ended = true;
      port.close();
      onEnd(error);
    };
    port.on("message", (report: LaneReport) => {
      if (this.#ended) return;
      if (report.kind !== "ended") onReport(report);
      else finish(report.failure === null ? closed() : errorOf(report.failure));
    });
    port.on("close", () => finish(threadEnded()));
  }

  /** Nothing happens once the lane has ended. */
  post(order: LaneOrder, transfer: readonly TransferListItem[] = []): void {
    if (!this.#ended) this.#port.postMessage(order, transfer);
  }

  /** Ends the connection at once; nothing is called any more. */
  end(): void {
    this.#ended = true;
    this.#port.close();
  }
}

function closed(): DrayError {
  return new DrayError("PEER_UNAVAILABLE", "page lane: the other side has closed it");
}

function threadEnded(): DrayError {
  return new DrayError("INTERNAL", "the thread of a page lane has ended", {
    remedy:
      "Look for its last words in the agent's log, and restart the agent; without lanes transfers go over one connection.",
  });
}
