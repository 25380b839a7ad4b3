/** Sending end of a transfer: one mTLS connection on which any number of files travel side by side. */
import { type TLSSocket, connect } from "node:tls";
import { Readable } from "node:stream";
import { DrayError, toDrayError } from "../errors/dray-error.ts";
import { tlsClientOptions } from "../identity/identity.ts";
import { splitAddress } from "../config/address.ts";
import type { Frame } from "./frame.ts";
import { chunkSource, fileSource, type FrameSource, readableSource } from "./frame-source.ts";
import { FramedSocket } from "./framed-socket.ts";
import { decodeMessage, errorOf, type Message, PROTOCOL_VERSIONS, STREAM_LIMIT } from "./messages.ts";
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
 * final; no further address is tried after it.
 */
export async function connectTransfer(target: TransferTarget): Promise<TransferConnection> {
  let failure = new DrayError("BAD_REQUEST", `no address of ${target.peerName} is known`);
  for (const address of target.addresses) {
    const connection = new OutgoingConnection(target, address);
    try {
      await connection.welcomed;
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
  readonly #socket: FramedSocket;
  readonly #files = new Map<number, OutgoingFile>();
  readonly #queue: (() => void)[] = [];
  readonly #welcome = Promise.withResolvers<void>();
  readonly #end = Promise.withResolvers<Error | undefined>();
  #window: number | undefined;
  #places = STREAM_LIMIT;
  #nextStreamId = 1;
  #failure: DrayError | undefined;

  constructor(target: TransferTarget, address: string) {
    this.#target = target;
    this.welcomed = this.#welcome.promise;
    this.ended = this.#end.promise;
    const { host, port } = splitAddress(address);
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
    this.#socket.setBandwidthLimit(target.bandwidthLimitBytesPerSecond);
    if (target.signal?.aborted) onAbort();
    tls.once("secureConnect", () => {
      const { token, migrationId } = target;
      this.#socket.send("hello", 0, { versions: [...PROTOCOL_VERSIONS], migrationId, token, silenceLimitMs });
    });
  }

  get wireBytes(): number {
    return this.#socket.wireBytes;
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
    this.#socket.setBandwidthLimit(bytesPerSecond);
  }

  async close(): Promise<void> {
    await this.#socket.goodbye();
  }

  async #send(file: FileDescription, options: SendOptions, open: () => Promise<FrameSource>): Promise<SendResult> {
    await this.#takePlace();
    try {
      if (this.#failure !== undefined) throw this.#failure;
      const source = await open();
      const streamId = this.#nextStreamId++;
      const outgoing = new OutgoingFile(this.#socket, streamId, this.#window ?? 0, file, options);
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
    if (this.#window === undefined) return this.#onAnswer(frame);
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
    this.#window = welcome.windowBytes;
    this.#socket.setSilenceLimit(Math.min(this.#target.silenceLimitMs ?? SILENCE_LIMIT_MS, welcome.silenceLimitMs));
    this.#welcome.resolve();
  }

  #onEnd(error: DrayError | undefined): void {
    this.#failure = error ?? new DrayError("CANCELLED", "the page connection was closed");
    this.#welcome.reject(this.#failure);
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
