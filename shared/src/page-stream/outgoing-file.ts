/** One file on its way out: reads ahead, keeps within the receiver's window, and waits for the receipt. */
import { DrayError, toDrayError } from "../errors/dray-error.ts";
import { chainDigest, DATA_BYTES, HEADER_BYTES } from "./frame.ts";
import { type FrameCarrier, type SentContent, SPACE_BYTES } from "./frame-carrier.ts";
import type { FrameSource } from "./frame-source.ts";
import { failureOf, type Message } from "./messages.ts";
import type { FileDescription, SendOptions, SendResult } from "./transfer-types.ts";

/** Frames are sealed thousands of times a second; nobody looks that often. */
const PROGRESS_EVERY_MS = 100;

export class OutgoingFile {
  readonly #carrier: FrameCarrier;
  readonly #streamId: number;
  readonly #description: FileDescription;
  readonly #options: SendOptions;
  readonly #settled = Promise.withResolvers<SendResult>();
  #source: FrameSource | undefined;
  #creditBytes: number;
  #reportedAtMs = 0;
  #opened = false;
  #sentBytes = 0;
  #failure: DrayError | undefined;
  #wake: () => void = () => undefined;

  constructor(
    carrier: FrameCarrier,
    streamId: number,
    windowBytes: number,
    description: FileDescription,
    options: SendOptions,
  ) {
    this.#carrier = carrier;
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
    this.#carrier.withdraw(this.#streamId, error);
    this.#wake();
    // A source may have nothing to give for a long time; closing it ends the wait.
    this.#source?.close().catch(() => undefined);
  }

  #giveUp(error: DrayError): void {
    if (this.#failure === undefined && this.#opened)
      this.#carrier.sendMessage("error", this.#streamId, failureOf(error));
    this.fail(error);
  }

  async #sendContent(source: FrameSource): Promise<void> {
    const { kind, name, metadata = {}, sizeBytes } = this.#description;
    this.#carrier.sendMessage("openFile", this.#streamId, {
      kind,
      name,
      metadata,
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
    });
    this.#opened = true;
    /** In the order of the frames. */
    const underWay: Promise<SentContent>[] = [];
    let digest = 0;
    const settleOldest = async (): Promise<Buffer> => {
      const { space, crc } = (await underWay[0]) as SentContent;
      underWay.shift();
      digest = chainDigest(digest, crc);
      return space;
    };
    try {
      for (;;) {
        const isBusy = underWay.length === this.#carrier.spaces;
        const space = isBusy ? await settleOldest() : Buffer.allocUnsafeSlow(SPACE_BYTES);
        this.#check();
        const bytes = await source.fill(space.subarray(HEADER_BYTES, HEADER_BYTES + DATA_BYTES));
        if (bytes === 0) break;
        await this.#takeCredit(bytes);
        const sending = this.#carrier.sendContent(this.#streamId, space, bytes);
        // Looked at later, when the connection may have broken while the source was still being read.
        sending.catch(() => undefined);
        underWay.push(sending);
        this.#sentBytes += bytes;
        this.#reportProgress();
      }
      while (underWay.length > 0) await settleOldest();
      this.#check();
    } finally {
      // On an error, nothing may still use the memory when this returns.
      await Promise.allSettled(underWay);
    }
    this.#options.onProgress?.(this.#sentBytes);
    this.#carrier.sendMessage("closeFile", this.#streamId, { bytes: this.#sentBytes, digest });
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
