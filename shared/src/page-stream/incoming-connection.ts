/**
 * The receiving end of one accepted connection, after its token was found good: opens, feeds and ends files.
 *
 * A stream lives from its opening until the receiver has answered delivered or error. Frames for a stream that ended
 * here with an error may still be under way and are dropped; frames for a stream that was never opened are an offence.
 */
import { DrayError, toDrayError } from "../errors/dray-error.ts";
import type { Recycler } from "./buffer-pool.ts";
import { type ContentType, decompress } from "./compression.ts";
import { type Frame, HEADER_BYTES } from "./frame.ts";
import type { FramedSocket } from "./framed-socket.ts";
import { IncomingContent } from "./incoming-file.ts";
import { decodeMessage, errorOf, failureOf, LANE_STREAMS, STREAM_LIMIT } from "./messages.ts";
import type { IncomingFile, JsonValue, TransferGrant } from "./transfer-types.ts";

interface Stream {
  readonly content: IncomingContent;
  readonly sizeBytes: number | undefined;
  closed: boolean;
  wireBytes: number;
}

/** A way on which frames of files come, in an order of their own. */
interface Route {
  /** For messages to people. */
  readonly name: string;
  lastStreamId: number;
  readonly recycler: Recycler;
}

export interface IncomingConnectionOptions {
  /** Told of all file content that arrives. */
  readonly onBytes: (bytes: number) => void;
  /** Takes back the memory of what has come over lanes. */
  readonly laneRecycler: Recycler;
}

export class IncomingConnection {
  readonly #socket: FramedSocket;
  readonly #grant: TransferGrant;
  readonly #allocate = (bytes: number) => this.#socket.pool.take(bytes);
  readonly #release = (memory: Buffer) => this.#socket.pool.giveBack(memory);
  /** The connection itself, and its lanes. */
  readonly #direct: Route;
  readonly #lanes: Route;
  readonly #onBytes: (bytes: number) => void;
  readonly #streams = new Map<number, Stream>();
  readonly #receiving = new Set<Promise<void>>();

  constructor(socket: FramedSocket, grant: TransferGrant, options: IncomingConnectionOptions) {
    this.#socket = socket;
    this.#grant = grant;
    this.#onBytes = options.onBytes;
    this.#direct = { name: "here", lastStreamId: 0, recycler: socket.pool };
    this.#lanes = { name: "on lanes", lastStreamId: LANE_STREAMS, recycler: options.laneRecycler };
  }

  /** Throws what must end the connection. */
  onFrame(frame: Frame): void {
    this.#take(frame, this.#direct);
  }

  /** As `onFrame`, of one that has come over a lane. */
  onLaneFrame(frame: Frame): void {
    this.#take(frame, this.#lanes);
  }

  #take(frame: Frame, route: Route): void {
    const expected = frame.streamId > LANE_STREAMS ? this.#lanes : this.#direct;
    if (expected !== route) {
      throw new DrayError("CORRUPT_STREAM", `page stream: stream ${frame.streamId} does not belong ${route.name}`);
    }
    switch (frame.type) {
      case "openFile":
        return this.#open(frame, route);
      case "data":
      case "packedData":
      case "compressedData":
        return this.#data({ ...frame, type: frame.type }, route);
      case "closeFile":
        return this.#close(frame, route);
      case "error":
        return this.#senderFailed(frame, route);
      default:
        throw new DrayError("CORRUPT_STREAM", `page stream: a sender must not send ${frame.type} ${route.name}`);
    }
  }

  /** To be called at the end of the connection: whoever still reads gets the reason. */
  onEnd(error: DrayError | undefined): void {
    const reason =
      error ?? new DrayError("PEER_UNAVAILABLE", "the sender closed the page connection before the file was complete");
    for (const { content } of this.#streams.values()) content.destroy(reason);
    this.#streams.clear();
  }

  /** Resolves when no `receive` is under way any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#receiving);
  }

  #open(frame: Frame, route: Route): void {
    const opening = decodeMessage("openFile", frame);
    const { streamId } = frame;
    if (streamId <= route.lastStreamId)
      throw new DrayError("CORRUPT_STREAM", `page stream: stream ${streamId} opened twice`);
    if (this.#streams.size >= STREAM_LIMIT)
      throw new DrayError("CORRUPT_STREAM", "page stream: too many files at a time");
    route.lastStreamId = streamId;
    const onRead = (bytes: number) => this.#socket.send("credit", streamId, { bytes });
    const content = new IncomingContent({ onRead, pool: route.recycler });
    // The receiver hears of errors by reading; one that has stopped reading must not bring the process down.
    content.on("error", () => undefined);
    const { kind, name, metadata, sizeBytes } = opening;
    const stream: Stream = { content, sizeBytes, closed: false, wireBytes: 0 };
    this.#streams.set(streamId, stream);
    const say = (word: JsonValue) => {
      if (this.#streams.has(streamId)) this.#socket.send("word", streamId, { word });
    };
    const file = {
      ...{ kind, name, metadata, sizeBytes, content, say },
      get wireBytes() {
        return stream.wireBytes;
      },
    };
    const receiving = this.#receive(streamId, file).finally(() => this.#receiving.delete(receiving));
    this.#receiving.add(receiving);
  }

  async #receive(streamId: number, file: IncomingFile & { content: IncomingContent }): Promise<void> {
    const { content } = file;
    try {
      const reply = (await (this.#grant.receive(file) as Promise<JsonValue | undefined>)) ?? null;
      if (!content.readableEnded) {
        throw content.errored ?? new DrayError("INTERNAL", `${file.name}: the receiver did not read it to its end`);
      }
      if (this.#streams.delete(streamId)) {
        this.#socket.send("delivered", streamId, { bytes: content.receivedBytes, reply });
      }
    } catch (thrown) {
      // The stream's own failure is the cause, what the reader made of it is not; a reader that failed has aborted the stream.
      const error = toDrayError(content.errored instanceof DrayError ? content.errored : thrown);
      this.#fail(streamId, content, error);
    }
  }

  /** Gives up one file; the sender and the reader both hear why. */
  #fail(streamId: number, content: IncomingContent, error: DrayError): void {
    if (this.#streams.delete(streamId)) this.#socket.send("error", streamId, failureOf(error));
    content.destroy(error);
  }

  #data(frame: Frame & { readonly type: ContentType }, route: Route): void {
    const stream = this.#find(frame, route);
    if (stream === undefined) return;
    if (stream.closed)
      throw new DrayError("CORRUPT_STREAM", `page stream: data after the end of stream ${frame.streamId}`);
    if (stream.content.destroyed) return;
    // Nothing counts it against the window, so there could be any number of them.
    if (frame.payload.length === 0) throw new DrayError("CORRUPT_STREAM", "page stream: a data frame without data");
    stream.wireBytes += HEADER_BYTES + frame.payload.length;
    const content = decompress(frame, this.#allocate, this.#release);
    this.#onBytes(content.length);
    stream.content.accept(frame.streamId, content, frame.crc);
  }

  #close(frame: Frame, route: Route): void {
    const closing = decodeMessage("closeFile", frame);
    const stream = this.#find(frame, route);
    if (stream === undefined || stream.content.destroyed) return;
    stream.closed = true;
    try {
      stream.content.finish(closing, stream.sizeBytes);
    } catch (error) {
      this.#fail(frame.streamId, stream.content, toDrayError(error));
    }
  }

  #senderFailed(frame: Frame, route: Route): void {
    const error = errorOf(decodeMessage("error", frame));
    if (frame.streamId === 0) throw error;
    const stream = this.#find(frame, route);
    if (stream === undefined) return;
    this.#streams.delete(frame.streamId);
    stream.content.destroy(error);
  }

  #find(frame: Frame, route: Route): Stream | undefined {
    const stream = this.#streams.get(frame.streamId);
    if (stream === undefined && (frame.streamId === 0 || frame.streamId > route.lastStreamId)) {
      throw new DrayError(
        "CORRUPT_STREAM",
        `page stream: ${frame.type} for stream ${frame.streamId}, which is not open`,
      );
    }
    return stream;
  }
}
