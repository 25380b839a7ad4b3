/** One file on its way out: reads ahead, keeps within the receiver's window, and waits for the receipt. */
import { DrayError, toDrayError } from "../errors/dray-error.ts";
import { FrameCompressor, PACKING_BYTES } from "./compression.ts";
import { chainDigest, DATA_BYTES, HEADER_BYTES, sealContent } from "./frame.ts";
import type { FrameSource } from "./frame-source.ts";
import type { FramedSocket } from "./framed-socket.ts";
import { failureOf, type Message } from "./messages.ts";
import type { FileDescription, SendOptions, SendResult } from "./transfer-types.ts";

/** Frames are sealed thousands of times a second; nobody looks that often. */
const PROGRESS_EVERY_MS = 100;
/** One is filled, one is sealed and waits, one is being encrypted. */
const BUFFERS = 3;

export class OutgoingFile {
  readonly #socket: FramedSocket;
  readonly #streamId: number;
  readonly #description: FileDescription;
  readonly #options: SendOptions;
  readonly #compressor = new FrameCompressor();
  readonly #settled = Promise.withResolvers<SendResult>();
  #source: FrameSource | undefined;
  #creditBytes: number;
  #reportedAtMs = 0;
  #opened = false;
  #sentBytes = 0;
  #failure: DrayError | undefined;
  #wake: () => void = () => undefined;

  constructor(
    socket: FramedSocket,
    streamId: number,
    windowBytes: number,
    description: FileDescription,
    options: SendOptions,
  ) {
    this.#socket = socket;
    this.#streamId = streamId;
    this.#creditBytes = windowBytes;
    this.#description = description;
    this.#options = options;
    // Observed in run(); a failure before that must not count as unhandled.
    this.#settled.promise.catch(() => undefined);
  }

  /** Sends everything and resolves with the receipt. Closes the source in any case. */
  async run(source: FrameSource): Promise<SendResult> {
    this.#source = source;
    const onAbort = () => this.#giveUp(new DrayError("CANCELLED", `sending ${this.#description.name} was cancelled`));
    this.#options.signal?.addEventListener("abort", onAbort, { once: true });
    try {
      if (this.#options.signal?.aborted) onAbort();
      this.#check();
      await this.#sendContent(source);
    } catch (thrown) {
      this.#giveUp(toDrayError(thrown));
    } finally {
      await source.close();
    }
    try {
      return await this.#settled.promise;
    } finally {
      this.#options.signal?.removeEventListener("abort", onAbort);
    }
  }

  onCredit({ bytes }: Message<"credit">): void {
    this.#creditBytes += bytes;
    this.#wake();
  }

  onWord({ word }: Message<"word">): void {
    this.#options.onWord?.(word);
  }

  onDelivered({ bytes, reply }: Message<"delivered">): void {
    if (bytes === this.#sentBytes) this.#settled.resolve({ bytes, reply });
    else
      this.fail(
        new DrayError("CORRUPT_STREAM", `${this.#description.name}: ${this.#sentBytes} bytes sent, ${bytes} arrived`),
      );
  }

  /** Ends the file on this side alone: the receiver reported an error, or the connection is gone. */
  fail(error: DrayError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#settled.reject(error);
    this.#wake();
    // A source may have nothing to give for a long time; closing it ends the wait.
    this.#source?.close().catch(() => undefined);
  }

  #giveUp(error: DrayError): void {
    if (this.#failure === undefined && this.#opened) this.#socket.send("error", this.#streamId, failureOf(error));
    this.fail(error);
  }

  async #sendContent(source: FrameSource): Promise<void> {
    const { kind, name, metadata = {}, sizeBytes } = this.#description;
    this.#socket.send("openFile", this.#streamId, {
      kind,
      name,
      metadata,
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
    });
    this.#opened = true;
    const buffers = Array.from({ length: BUFFERS }, () => Buffer.allocUnsafeSlow(HEADER_BYTES + PACKING_BYTES));
    const written: Promise<void>[] = buffers.map(() => Promise.resolve());
    const fill = (buffer: Buffer) => source.fill(buffer.subarray(HEADER_BYTES, HEADER_BYTES + DATA_BYTES));
    let turn = 0;
    let digest = 0;
    let filling = fill(buffers[turn] as Buffer);
    try {
      for (let bytes = await filling; bytes > 0; bytes = await filling) {
        const buffer = buffers[turn] as Buffer;
        await this.#takeCredit(bytes);
        const frame = this.#seal(buffer, bytes);
        digest = chainDigest(digest, frame.crc);
        const writing = this.#socket.writeData(buffer.subarray(0, HEADER_BYTES + frame.payloadBytes));
        // Looked at later, when the connection may have broken while the source was still being read.
        writing.catch(() => undefined);
        written[turn] = writing;
        this.#sentBytes += bytes;
        this.#reportProgress();
        turn = (turn + 1) % BUFFERS;
        await written[turn];
        this.#check();
        filling = fill(buffers[turn] as Buffer);
      }
      await Promise.all(written);
      this.#check();
    } finally {
      // On an error, nothing may still use the buffers when this returns.
      await Promise.allSettled(written);
    }
    this.#options.onProgress?.(this.#sentBytes);
    this.#socket.send("closeFile", this.#streamId, { bytes: this.#sentBytes, digest });
  }

  /** Makes a frame of the content behind the place for the header. */
  #seal(buffer: Buffer, contentBytes: number): { payloadBytes: number; crc: number } {
    const streamId = this.#streamId;
    const { type, bytes, crc } = this.#compressor.compress(buffer.subarray(HEADER_BYTES), contentBytes, streamId);
    sealContent(buffer, { type, streamId, payloadBytes: bytes, crc });
    return { payloadBytes: bytes, crc };
  }

  #reportProgress(): void {
    const nowMs = performance.now();
    if (nowMs - this.#reportedAtMs < PROGRESS_EVERY_MS) return;
    this.#reportedAtMs = nowMs;
    this.#options.onProgress?.(this.#sentBytes);
  }

  async #takeCredit(bytes: number): Promise<void> {
    while (this.#creditBytes < bytes) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#check();
    }
    this.#creditBytes -= bytes;
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}
