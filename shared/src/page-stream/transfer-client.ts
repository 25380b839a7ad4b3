/**
 * Sending end of a transfer: one mTLS connection on which any number of files travel side by side, and lanes beside it
 * for large ones.
 */
import { type TLSSocket, connect } from "node:tls";
import { Readable } from "node:stream";
import { DrayError, toDrayError } from "../errors/dray-error.ts";
import { tlsClientOptions } from "../identity/identity.ts";
import { splitAddress } from "../config/address.ts";
import { BandwidthLimit } from "./bandwidth-limit.ts";
import type { Frame } from "./frame.ts";
import { SocketCarrier } from "./frame-carrier.ts";
import { chunkSource, fileSource, type FrameSource, readableSource } from "./frame-source.ts";
import { FramedSocket } from "./framed-socket.ts";
import { OutgoingLanes } from "./lanes/outgoing-lanes.ts";
import { decodeMessage, errorOf, LANE_STREAMS, type Message, PROTOCOL_VERSIONS, STREAM_LIMIT } from "./messages.ts";
import { OutgoingFile } from "./outgoing-file.ts";
import type {
  FileDescription,
  FileSource,
  SendOptions,
  SendResult,
  TransferConnection,
  TransferTarget,
} from "./transfer-types.ts";

export type * from "./transfer-types.ts";

/** For each address: from the SYN to the Welcome. */
export const CONNECT_DEADLINE_MS = 5000;
const SILENCE_LIMIT_MS = 10_000;

/**
 * Connects and shows the token. The reason of the last address tried comes out: PEER_UNAVAILABLE if nobody answers,
 * PERMISSION_DENIED or PROTOCOL_MISMATCH if the server refuses, TIMEOUT, CANCELLED. A refusal by the right agent is
 * final; no further address is tried after it. Lanes that cannot be had are an incident, and no failure.
 */
export async function connectTransfer(target: TransferTarget): Promise<TransferConnection> {
  let failure = new DrayError("BAD_REQUEST", `no address of ${target.peerName} is known`);
  for (const address of target.addresses) {
    const connection = new OutgoingConnection(target, address);
    try {
      await connection.welcomed;
      await connection.openLanes();
      return connection;
    } catch (error) {
      failure = toDrayError(error);
      if (connection.refused || target.signal?.aborted) break;
    }
  }
  throw failure;
}

class OutgoingConnection implements TransferConnection {
  readonly welcomed: Promise<void>;
  readonly ended: Promise<Error | undefined>;
  refused = false;
  readonly #target: TransferTarget;
  readonly #host: string;
  readonly #socket: FramedSocket;
  readonly #files = new Map<number, OutgoingFile>();
  readonly #queue: (() => void)[] = [];
  readonly #welcome = Promise.withResolvers<void>();
  readonly #end = Promise.withResolvers<Error | undefined>();
  #welcomeMessage: Message<"welcome"> | undefined;
  #lanes: OutgoingLanes | undefined;
  #limit: BandwidthLimit | undefined;
  #places = STREAM_LIMIT;
  #lastStreamId = 0;
  #lastLaneStreamId = LANE_STREAMS;
  /** Fires at the end of the connection. */
  readonly #ending = new AbortController();
  #isClosing = false;
  #failure: DrayError | undefined;

  constructor(target: TransferTarget, address: string) {
    this.#target = target;
    this.welcomed = this.#welcome.promise;
    this.ended = this.#end.promise;
    const { host, port } = splitAddress(address);
    this.#host = host;
    const silenceLimitMs = target.silenceLimitMs ?? SILENCE_LIMIT_MS;
    const deadlineMs = target.connectDeadlineMs ?? CONNECT_DEADLINE_MS;
    const tls: TLSSocket = connect({
      ...tlsClientOptions(target.identity, { role: "agent", name: target.peerName }),
      host,
      port,
    });
    this.#socket = new FramedSocket(tls, {
      silenceLimitMs,
      peerName: `${target.peerName} (${address})`,
      onFrame: (frame) => this.#onFrame(frame),
      onEnd: (error) => this.#onEnd(error),
    });
    const deadline = setTimeout(() => {
      this.#socket.end(
        new DrayError("TIMEOUT", `${target.peerName} (${address}): no page connection within ${deadlineMs} ms`),
      );
    }, deadlineMs);
    const onAbort = () => this.#socket.end(new DrayError("CANCELLED", "the transfer was cancelled"));
    target.signal?.addEventListener("abort", onAbort, { once: true });
    this.welcomed.then(
      () => clearTimeout(deadline),
      () => clearTimeout(deadline),
    );
    void this.ended.then(() => target.signal?.removeEventListener("abort", onAbort));
    this.setBandwidthLimit(target.bandwidthLimitBytesPerSecond);
    if (target.signal?.aborted) onAbort();
    tls.once("secureConnect", () => {
      const { token, migrationId } = target;
      const lanes = target.lanes?.ports.length ?? 0;
      this.#socket.send("hello", 0, { versions: [...PROTOCOL_VERSIONS], migrationId, token, silenceLimitMs, lanes });
    });
  }

  get wireBytes(): number {
    return this.#socket.wireBytes + (this.#lanes?.wireBytes ?? 0);
  }

  send(file: FileDescription, source: Readable | FileSource, options: SendOptions = {}): Promise<SendResult> {
    return this.#send(file, options, async () =>
      source instanceof Readable ? readableSource(source) : await fileSource(source.path, source.startBytes),
    );
  }

  sendChunks(file: FileDescription, chunks: AsyncIterable<Buffer>, options: SendOptions = {}): Promise<SendResult> {
    return this.#send(file, options, async () => chunkSource(chunks));
  }

  setBandwidthLimit(bytesPerSecond: number | undefined): void {
    this.#limit = bytesPerSecond === undefined ? undefined : new BandwidthLimit(bytesPerSecond, performance.now());
    this.#socket.setBandwidthLimit(this.#limit);
    this.#lanes?.setBandwidthLimit(this.#limit);
  }

  /** To be called after the Welcome, once. Without lanes everything goes over the connection that there is. */
  async openLanes(): Promise<void> {
    const { lanes: threads, peerName, connectDeadlineMs, onIncident } = this.#target;
    const offer = this.#welcomeMessage?.lanes;
    if (threads === undefined || offer === undefined || offer.ports.length === 0) return;
    try {
      const lanes = await OutgoingLanes.open(threads, {
        host: this.#host,
        peerName,
        offer,
        silenceLimitMs: this.#silenceLimitMs(),
        deadlineMs: connectDeadlineMs ?? CONNECT_DEADLINE_MS,
        signal: this.#ending.signal,
        onLost: (error) => {
          // After the goodbye the receiver ends them.
          if (!this.#isClosing) this.#socket.end(error);
        },
      });
      lanes.setBandwidthLimit(this.#limit);
      this.#lanes = lanes;
      if (this.#failure !== undefined) lanes.end(this.#failure);
    } catch (thrown) {
      if (this.#failure !== undefined) throw this.#failure;
      const { message, remedy } = toDrayError(thrown);
      onIncident?.("page lanes cannot be had; the transfer goes over one connection", {
        peer: peerName,
        message,
        remedy,
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#socket.goodbye();
  }

  async #send(file: FileDescription, options: SendOptions, open: () => Promise<FrameSource>): Promise<SendResult> {
    await this.#takePlace();
    try {
      if (this.#failure !== undefined) throw this.#failure;
      const source = await open();
      const lanes = options.striped === true ? this.#lanes : undefined;
      const streamId = lanes === undefined ? ++this.#lastStreamId : ++this.#lastLaneStreamId;
      const carrier = lanes ?? new SocketCarrier(this.#socket);
      const outgoing = new OutgoingFile(carrier, streamId, this.#welcomeMessage?.windowBytes ?? 0, file, options);
      this.#files.set(streamId, outgoing);
      if (this.#failure !== undefined) outgoing.fail(this.#failure);
      try {
        return await outgoing.run(source);
      } finally {
        this.#files.delete(streamId);
      }
    } finally {
      this.#leavePlace();
    }
  }

  #onFrame(frame: Frame): void {
    if (this.#welcomeMessage === undefined) return this.#onAnswer(frame);
    if (frame.type === "error" && frame.streamId === 0) throw errorOf(decodeMessage("error", frame));
    const file = this.#files.get(frame.streamId);
    switch (frame.type) {
      case "credit":
        return file?.onCredit(decodeMessage("credit", frame));
      case "word":
        return file?.onWord(decodeMessage("word", frame));
      case "delivered":
        return file?.onDelivered(decodeMessage("delivered", frame));
      case "error":
        return file?.fail(errorOf(decodeMessage("error", frame)));
      default:
        throw new DrayError("CORRUPT_STREAM", `page stream: a receiver must not send ${frame.type} here`);
    }
  }

  #onAnswer(frame: Frame): void {
    if (frame.type === "refusal") {
      this.refused = true;
      this.#socket.end(errorOf(decodeMessage("refusal", frame)));
      return;
    }
    const welcome: Message<"welcome"> = decodeMessage("welcome", frame);
    if (!PROTOCOL_VERSIONS.includes(welcome.version)) {
      throw new DrayError(
        "PROTOCOL_MISMATCH",
        `page stream: ${this.#target.peerName} chose version ${welcome.version}`,
      );
    }
    if (welcome.lanes.ports.length > (this.#target.lanes?.ports.length ?? 0)) {
      throw new DrayError("CORRUPT_STREAM", "page stream: more lanes are offered than were asked for");
    }
    this.#welcomeMessage = welcome;
    this.#socket.setSilenceLimit(this.#silenceLimitMs());
    this.#welcome.resolve();
  }

  /** What the two have agreed upon. */
  #silenceLimitMs(): number {
    const own = this.#target.silenceLimitMs ?? SILENCE_LIMIT_MS;
    return Math.min(own, this.#welcomeMessage?.silenceLimitMs ?? own);
  }

  #onEnd(error: DrayError | undefined): void {
    this.#failure = error ?? new DrayError("CANCELLED", "the page connection was closed");
    this.#welcome.reject(this.#failure);
    this.#ending.abort();
    this.#lanes?.end(this.#failure);
    for (const file of this.#files.values()) file.fail(this.#failure);
    for (const wake of this.#queue.splice(0)) wake();
    this.#end.resolve(error);
  }

  async #takePlace(): Promise<void> {
    if (this.#places === 0 && this.#failure === undefined) {
      await new Promise<void>((resolve) => this.#queue.push(resolve));
      return;
    }
    this.#places -= 1;
  }

  /** Hands the place on to the longest waiting, or back. */
  #leavePlace(): void {
    const next = this.#queue.shift();
    if (next === undefined) this.#places += 1;
    else next();
  }
}
