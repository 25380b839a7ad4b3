/**
 * One TLS socket that speaks frames: ordering of what is written, heartbeats, and one end for everything that can go
 * wrong with a connection.
 *
 * Small messages are written at once, data frames in the order of their `writeData`, at most two under way, so that a
 * message never waits behind more than that. A frame is written as one piece: Node would copy several into one first.
 *
 * Sockets of a dead host stay silent for many minutes before the kernel gives up, so both sides ping when they have
 * nothing to say and give the other up after the silence limit. Silence is counted in ticks, not on the clock: a
 * process that was stopped for a while must first read what has arrived meanwhile.
 */
import type { TLSSocket } from "node:tls";
import { DrayError, toDrayError } from "../errors/dray-error.ts";
import { tlsFailure } from "../identity/tls-failure.ts";
import type { BandwidthLimit } from "./bandwidth-limit.ts";
import { BufferPool } from "./buffer-pool.ts";
import { freeMemory } from "./free-memory.ts";
import { DATA_BYTES, type Frame, FrameDecoder, streamOf } from "./frame.ts";
import { encodeMessage, type Message, type MessageType } from "./messages.ts";
import { type SendingCost, SendingMeter } from "./sending-cost.ts";

const TICKS_OF_SILENCE = 5;
const DATA_FRAMES_UNDER_WAY = 2;
/**
 * Messages that the other side has not read yet. All that an honest one can make us say at a time is far less; one that
 * goes on asking without ever reading shall not fill the memory.
 */
const BACKLOG_LIMIT_BYTES = 16 * 1024 * 1024;
/** How long the other side has to close after a goodbye. */
const GOODBYE_DEADLINE_MS = 2000;

export interface FramedSocketOptions {
  readonly silenceLimitMs: number;
  /** Who is at the other end, for messages to people. */
  readonly peerName: string;
  /** Called for every frame but pings and goodbyes. What it throws ends the connection. */
  readonly onFrame: (frame: Frame) => void;
  /** Called once: undefined after a goodbye, else the reason. Nothing is called after it. */
  readonly onEnd: (error: DrayError | undefined) => void;
}

interface Waiting {
  readonly frame: Buffer;
  readonly written: () => void;
  readonly failed: (error: Error) => void;
}

export class FramedSocket {
  readonly #socket: TLSSocket;
  readonly #options: FramedSocketOptions;
  /** Where the payloads of received data frames come from. */
  readonly pool = new BufferPool(DATA_BYTES);
  readonly #decoder = new FrameDecoder((bytes) => this.pool.take(bytes));
  readonly #waiting: Waiting[] = [];
  readonly #underWay = new Set<Waiting>();
  #limit: BandwidthLimit | undefined;
  /** The frame whose turn it is, until the bandwidth limit lets it through. */
  #held: { readonly next: Waiting; readonly timer: NodeJS.Timeout } | undefined;
  readonly #meter = new SendingMeter();
  #heartbeat: NodeJS.Timeout;
  #silentTicks = 0;
  #wroteSinceTick = false;
  #wireBytes = 0;
  #goodbye = false;
  #ended: { error: DrayError | undefined } | undefined;

  constructor(socket: TLSSocket, options: FramedSocketOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#heartbeat = this.#startHeartbeat(options.silenceLimitMs);
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("end", () => this.#endOfInput());
    socket.on("error", (error) => this.end(this.#lost(error.message, error)));
    socket.on("close", () => this.end(this.#goodbye ? undefined : this.#lost("closed")));
  }

  /** Bytes of frames written so far, before TLS. */
  get wireBytes(): number {
    return this.#wireBytes;
  }

  /** Of data frames; undefined as long as too little was sent to tell. */
  get sendingCost(): SendingCost | undefined {
    return this.#meter.cost;
  }

  /** A frame has waited so long for a bandwidth cap before it came here. */
  heldBefore(waitMs: number): void {
    this.#meter.held(waitMs);
  }

  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** Sends a small message ahead of waiting data. Nothing happens once the connection has ended. */
  send<T extends MessageType>(type: T, streamId: number, message: Message<T>): void {
    const frame = encodeMessage(type, streamId, message);
    if (this.#ended !== undefined || !this.#socket.writable) return;
    this.#wroteSinceTick = true;
    this.#wireBytes += frame.length;
    this.#socket.write(frame);
    if (this.#socket.writableLength > BACKLOG_LIMIT_BYTES) this.end(this.#lost("does not read its messages"));
  }

  /** Sends a sealed data frame; resolves when its bytes are encrypted, so that the buffer may be used again. */
  writeData(frame: Buffer): Promise<void> {
    return new Promise((written, failed) => {
      if (this.#ended !== undefined) {
        failed(this.#ended.error ?? this.#lost("already closed"));
        return;
      }
      this.#waiting.push({ frame, written, failed });
      this.#pump();
    });
  }

  /** Data frames of this stream that wait their turn, or for the bandwidth limit, fail: nobody wants them any more. */
  withdraw(streamId: number, error: Error): void {
    const isUnwanted = ({ frame }: Waiting) => streamOf(frame) === streamId;
    const unwanted = this.#waiting.filter(isUnwanted);
    if (this.#held !== undefined && isUnwanted(this.#held.next)) {
      this.#limit?.refund(this.#held.next.frame.length);
      unwanted.unshift(this.#release() as Waiting);
    }
    for (const { failed } of unwanted) failed(error);
    const wanted = this.#waiting.filter((waiting) => !isUnwanted(waiting));
    this.#waiting.splice(0, this.#waiting.length, ...wanted);
    this.#pump();
  }

  /** The limit may be shared with others, which then have it together. */
  setBandwidthLimit(limit: BandwidthLimit | undefined): void {
    this.#limit = limit;
    const held = this.#release();
    // It waited for what the old limit said; the new one says anew.
    if (held !== undefined) this.#waiting.unshift(held);
    this.#pump();
  }

  /** Reads nothing until `resume`, and expects no sign of life meanwhile. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#silentTicks = 0;
    this.#socket.resume();
  }

  /** Pings must come often enough for the more impatient of the two. */
  setSilenceLimit(silenceLimitMs: number): void {
    clearInterval(this.#heartbeat);
    if (this.#ended === undefined) this.#heartbeat = this.#startHeartbeat(silenceLimitMs);
  }

  /** Says goodbye and waits until the other side has closed too. */
  async goodbye(): Promise<void> {
    if (this.#ended !== undefined) return;
    this.send("bye", 0, {});
    this.#goodbye = true;
    const closed = new Promise<void>((resolve) => this.#socket.once("close", () => resolve()));
    this.#socket.end();
    const deadline = setTimeout(() => this.end(undefined), GOODBYE_DEADLINE_MS);
    await closed;
    clearTimeout(deadline);
    this.end(undefined);
  }

  /** Sends a last message and closes: for refusals, and for errors that the other side should hear of. */
  endWith<T extends "refusal" | "error">(type: T, message: Message<T>, error: DrayError): void {
    if (this.#ended !== undefined) return;
    this.send(type, 0, message);
    this.#finish(error);
    this.#socket.end();
    // Input is thrown away from here on; without this a peer that never closes would keep the socket for good.
    const deadline = setTimeout(() => this.#socket.destroy(), GOODBYE_DEADLINE_MS);
    this.#socket.once("close", () => clearTimeout(deadline));
    this.#socket.resume();
  }

  /** Ends at once. Only the first call counts. */
  end(error: DrayError | undefined): void {
    if (this.#ended !== undefined) return;
    this.#finish(error);
    this.#socket.destroy();
  }

  #finish(error: DrayError | undefined): void {
    this.#ended = { error };
    clearInterval(this.#heartbeat);
    const failure = error ?? this.#lost("closed");
    const held = this.#release();
    if (held !== undefined) held.failed(failure);
    for (const { failed } of [...this.#underWay, ...this.#waiting.splice(0)]) failed(failure);
    this.#underWay.clear();
    this.#options.onEnd(error);
  }

  #pump(): void {
    while (this.#held === undefined && this.#underWay.size < DATA_FRAMES_UNDER_WAY) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      const waitMs = this.#limit?.take(next.frame.length, performance.now()) ?? 0;
      if (waitMs === 0) this.#write(next);
      else this.#hold(next, waitMs);
    }
  }

  #hold(next: Waiting, waitMs: number): void {
    const timer = setTimeout(() => {
      this.#release();
      this.#write(next);
      this.#pump();
    }, waitMs);
    this.#held = { next, timer };
    this.#meter.waiting(true);
  }

  #release(): Waiting | undefined {
    const held = this.#held;
    this.#held = undefined;
    clearTimeout(held?.timer);
    return held?.next;
  }

  #write(next: Waiting): void {
    const { length } = next.frame;
    this.#underWay.add(next);
    this.#wroteSinceTick = true;
    this.#wireBytes += length;
    const beganMs = performance.now();
    this.#socket.write(next.frame, (error) => {
      this.#underWay.delete(next);
      this.#meter.waiting(this.#underWay.size > 0 || this.#held !== undefined);
      if (error) next.failed(error);
      else next.written();
      this.#pump();
    });
    this.#meter.sent(length, performance.now() - beganMs);
    this.#meter.waiting(true);
  }

  #receive(chunk: Buffer): void {
    this.#silentTicks = 0;
    if (this.#ended !== undefined) return;
    try {
      this.#decoder.push(chunk, (frame) => this.#dispatch(frame));
      freeMemory(chunk);
    } catch (thrown) {
      const error = toDrayError(thrown);
      const { reason, message, remedy, node } = error;
      this.endWith("error", { reason, message, remedy, node }, error);
    }
  }

  #dispatch(frame: Frame): void {
    if (this.#ended !== undefined || frame.type === "ping") return;
    if (frame.type === "bye") this.#goodbye = true;
    else this.#options.onFrame(frame);
  }

  #endOfInput(): void {
    if (this.#ended !== undefined) return;
    if (this.#goodbye) {
      this.end(undefined);
      return;
    }
    try {
      this.#decoder.finish();
      this.end(this.#lost("closed without a goodbye"));
    } catch (thrown) {
      this.end(toDrayError(thrown));
    }
  }

  #startHeartbeat(silenceLimitMs: number): NodeJS.Timeout {
    return setInterval(() => {
      if (!this.#socket.isPaused()) this.#silentTicks += 1;
      if (this.#silentTicks > TICKS_OF_SILENCE) {
        this.end(this.#lost(`silent for ${silenceLimitMs} ms`));
        return;
      }
      if (!this.#wroteSinceTick) this.send("ping", 0, {});
      this.#wroteSinceTick = false;
    }, silenceLimitMs / TICKS_OF_SILENCE);
  }

  #lost(what: string, cause?: Error): DrayError {
    const identityFailure = cause === undefined ? null : tlsFailure(cause);
    if (identityFailure !== null) return identityFailure;
    return new DrayError("PEER_UNAVAILABLE", `page connection to ${this.#options.peerName}: ${what}`, { cause });
  }
}
