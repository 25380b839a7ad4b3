/**
 * The lanes of a transfer at its sending end: frames are dealt to them in turn, so that their order is known without a
 * number in any of them.
 */
import { DrayError, toDrayError } from "../../errors/dray-error.ts";
import type { BandwidthLimit } from "../bandwidth-limit.ts";
import type { FileMessageType, FrameCarrier, SentContent } from "../frame-carrier.ts";
import { encodeMessage, type Message } from "../messages.ts";
import type { LaneOrder, LaneReport } from "./lane-messages.ts";
import { LanePort } from "./lane-port.ts";
import type { LaneThreads } from "./lane-threads.ts";

export interface LanesTarget {
  /** Where the transfer's connection goes, too. */
  readonly host: string;
  readonly peerName: string;
  /** What the Welcome offers. */
  readonly offer: Message<"welcome">["lanes"];
  readonly silenceLimitMs: number;
  readonly deadlineMs: number;
  /** Calls the opening off. */
  readonly signal: AbortSignal;
  /** A lane is lost that was open, and with it all of them. */
  readonly onLost: (error: DrayError) => void;
}

interface Waiting {
  readonly streamId: number;
  readonly space: Buffer;
  readonly bytes: number;
  readonly sent: (content: SentContent) => void;
  readonly failed: (error: Error) => void;
}

export class OutgoingLanes implements FrameCarrier {
  readonly spaces: number;
  readonly #lanes: readonly Lane[];
  /** Content that the bandwidth limit does not let through yet. */
  readonly #waiting: Waiting[] = [];
  #limit: BandwidthLimit | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Since when the first that waits has done so for the limit. */
  #heldSinceMs: number | undefined;
  #turn = 0;
  #wireBytes = 0;
  #ended: DrayError | undefined;

  /** All lanes that are offered. Rejects with the reason of the first that does not open; `onLost` is for later. */
  static async open(threads: LaneThreads, target: LanesTarget): Promise<OutgoingLanes> {
    const lanes = target.offer.ports.map((tcpPort, lane) => new Lane(threads, target, { lane, tcpPort }));
    const onAbort = () => {
      for (const lane of lanes) lane.giveUp(new DrayError("CANCELLED", "the opening of page lanes was called off"));
    };
    target.signal.addEventListener("abort", onAbort, { once: true });
    if (target.signal.aborted) onAbort();
    try {
      await Promise.all(lanes.map(({ opened }) => opened));
    } catch (thrown) {
      for (const lane of lanes) lane.giveUp(toDrayError(thrown));
      throw thrown;
    } finally {
      target.signal.removeEventListener("abort", onAbort);
    }
    return new OutgoingLanes(lanes, target);
  }

  private constructor(lanes: readonly Lane[], { onLost }: LanesTarget) {
    this.#lanes = lanes;
    // One is filled; of each lane one waits and one is being worked on.
    this.spaces = 1 + 2 * lanes.length;
    for (const lane of lanes) {
      void lane.lost.then((error) => {
        if (this.#ended === undefined) onLost(error);
      });
    }
  }

  /** Bytes of frames handed to the sockets so far, before TLS. */
  get wireBytes(): number {
    return this.#wireBytes;
  }

  sendContent(streamId: number, space: Buffer, bytes: number): Promise<SentContent> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((sent, failed) => {
      this.#waiting.push({ streamId, space, bytes, sent, failed });
      this.#pump();
    });
  }

  withdraw(streamId: number, error: Error): void {
    const waiting = this.#waiting.splice(0);
    this.#heldSinceMs = undefined;
    for (const each of waiting) {
      if (each.streamId === streamId) each.failed(error);
      else this.#waiting.push(each);
    }
    this.#pump();
  }

  sendMessage<T extends FileMessageType>(type: T, streamId: number, message: Message<T>): void {
    if (this.#ended !== undefined) return;
    const frame = encodeMessage(type, streamId, message);
    const onSent = ({ wireBytes }: Sent) => {
      this.#wireBytes += wireBytes;
    };
    this.#nextLane().deal({ kind: "message", frame }, [], { sent: onSent, failed: () => undefined });
  }

  /** The limit may be shared with others, which then have it together. */
  setBandwidthLimit(limit: BandwidthLimit | undefined): void {
    this.#limit = limit;
    this.#pump();
  }

  /** Ends all connections at once; what is under way fails. */
  end(error: DrayError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    clearTimeout(this.#timer);
    for (const { failed } of this.#waiting.splice(0)) failed(error);
    for (const lane of this.#lanes) lane.end(error);
  }

  #pump(): void {
    clearTimeout(this.#timer);
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const nowMs = performance.now();
      const waitMs = this.#limit?.take(0, nowMs) ?? 0;
      if (waitMs > 0) {
        this.#heldSinceMs ??= nowMs;
        this.#timer = setTimeout(() => this.#pump(), waitMs);
        return;
      }
      this.#waiting.shift();
      this.#dealContent(next, nowMs - (this.#heldSinceMs ?? nowMs));
      this.#heldSinceMs = undefined;
    }
  }

  /** How much smaller it becomes is known when it has gone; until then it counts as what it is. */
  #dealContent({ streamId, space, bytes, sent, failed }: Waiting, heldMs: number): void {
    this.#limit?.take(bytes, performance.now());
    const memory = space.buffer as ArrayBuffer;
    const onSent = ({ wireBytes, content }: Sent) => {
      this.#wireBytes += wireBytes;
      this.#limit?.refund(bytes - wireBytes);
      if (content !== undefined) sent({ space: Buffer.from(content.space), crc: content.crc });
      this.#pump();
    };
    const order = { kind: "content", streamId, space: memory, bytes, heldMs } as const;
    this.#nextLane().deal(order, [memory], { sent: onSent, failed });
  }

  #nextLane(): Lane {
    const lane = this.#lanes[this.#turn] as Lane;
    this.#turn = (this.#turn + 1) % this.#lanes.length;
    return lane;
  }
}

type Sent = Extract<LaneReport, { kind: "sent" }>;

interface Answer {
  readonly sent: (report: Sent) => void;
  readonly failed: (error: Error) => void;
}

/** One of them; what it was dealt is answered in order. */
class Lane {
  /** Resolves when the connection is lost. */
  readonly lost: Promise<DrayError>;
  readonly #port: LanePort;
  readonly #opened = Promise.withResolvers<void>();
  readonly #deadline: NodeJS.Timeout;
  readonly #underWay: Answer[] = [];

  constructor(threads: LaneThreads, target: LanesTarget, { lane, tcpPort }: { lane: number; tcpPort: number }) {
    const { host, peerName, offer, silenceLimitMs, deadlineMs } = target;
    const lost = Promise.withResolvers<DrayError>();
    this.lost = lost.promise;
    const hello = { lane, secret: offer.secret };
    this.#port = new LanePort(threads.dial({ host, tcpPort, peerName, hello, silenceLimitMs, deadlineMs }), {
      onReport: (report) => {
        if (report.kind === "open") this.#open();
        else if (report.kind === "sent") this.#underWay.shift()?.sent(report);
      },
      onEnd: (error) => {
        this.giveUp(unreachable(tcpPort, peerName, error));
        lost.resolve(error);
      },
    });
    const late = new DrayError("TIMEOUT", `not open within ${deadlineMs} ms`);
    this.#deadline = setTimeout(() => this.giveUp(unreachable(tcpPort, peerName, late)), deadlineMs);
  }

  /** Rejects with an error that names the port. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  /** Ends the attempt; nothing happens to `opened` once the lane is open. */
  giveUp(error: DrayError): void {
    clearTimeout(this.#deadline);
    this.#port.end();
    this.#opened.reject(error);
  }

  deal(order: LaneOrder, transfer: readonly ArrayBuffer[], answer: Answer): void {
    this.#underWay.push(answer);
    this.#port.post(order, transfer);
  }

  end(error: DrayError): void {
    this.#port.end();
    for (const { failed } of this.#underWay.splice(0)) failed(error);
  }

  #open(): void {
    clearTimeout(this.#deadline);
    this.#opened.resolve();
  }
}

function unreachable(tcpPort: number, peerName: string, error: DrayError): DrayError {
  return new DrayError(error.reason, `TCP port ${tcpPort} of ${peerName}: ${error.message}`, {
    remedy: `Let TCP port ${tcpPort} of ${peerName} through firewalls, or set pageConnections to 1 in its agent.yaml.`,
    cause: error,
  });
}
