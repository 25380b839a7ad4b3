/** One file on its way in: checked, bounded, and acknowledged as it is read. */
import { Readable } from "node:stream";
import { DrayError } from "../errors/dray-error.ts";
import { chainDigest, type Frame } from "./frame.ts";
import { type Message, WINDOW_BYTES } from "./messages.ts";
import type { IncomingFile } from "./transfer-types.ts";

/** Credit is given back in pieces of this size, so that it costs a small message per two megabytes. */
const CREDIT_STEP_BYTES = WINDOW_BYTES / 4;

/** Content of an incoming file; tells how much of it has been read. */
export class IncomingContent extends Readable {
  readonly #onRead: (bytes: number) => void;
  #pushedBytes = 0;
  #creditedBytes = 0;
  #digest = 0;

  /** `onRead` is told of bytes that have left the buffer, a step at a time. */
  constructor(onRead: (bytes: number) => void) {
    super({ highWaterMark: WINDOW_BYTES });
    this.#onRead = onRead;
  }

  get receivedBytes(): number {
    return this.#pushedBytes;
  }

  /** CORRUPT_STREAM if the sender keeps no window. */
  accept(frame: Frame): void {
    if (this.#pushedBytes + frame.payload.length - this.#creditedBytes > WINDOW_BYTES) {
      throw new DrayError("CORRUPT_STREAM", `page stream: stream ${frame.streamId} sent more than its window`);
    }
    this.#digest = chainDigest(this.#digest, frame.crc);
    this.#pushedBytes += frame.payload.length;
    this.push(frame.payload);
    this.#giveCredit();
  }

  /** Ends the content; CORRUPT_STREAM if what came is not what was sent. */
  finish(closing: Message<"closeFile">, sizeBytes: number | undefined): void {
    if (closing.bytes !== this.#pushedBytes || closing.digest !== this.#digest) {
      throw new DrayError("CORRUPT_STREAM", `${closing.bytes} bytes were sent, ${this.#pushedBytes} came, or not the same ones`);
    }
    if (sizeBytes !== undefined && sizeBytes !== this.#pushedBytes) {
      throw new DrayError("CORRUPT_STREAM", `${sizeBytes} bytes were announced, ${this.#pushedBytes} came`);
    }
    this.push(null);
  }

  override read(size?: number): Buffer | null {
    const chunk = super.read(size) as Buffer | null;
    this.#giveCredit();
    return chunk;
  }

  // Bytes come when the sender sends them; reading asks for more through the credit.
  override _read(): void {}

  #giveCredit(): void {
    const unreportedBytes = this.#pushedBytes - this.readableLength - this.#creditedBytes;
    if (unreportedBytes < CREDIT_STEP_BYTES || this.destroyed) return;
    this.#creditedBytes += unreportedBytes;
    this.#onRead(unreportedBytes);
  }
}

export function incomingFile(opening: Message<"openFile">, content: IncomingContent): IncomingFile {
  const { kind, name, metadata, sizeBytes } = opening;
  return { kind, name, metadata, sizeBytes, content };
}
