/** Content of one file on its way in: checked, bounded, and acknowledged as it is read. */
import { Readable } from "node:stream";
import { DrayError } from "../errors/dray-error.ts";
import type { Recycler } from "./buffer-pool.ts";
import { chainDigest } from "./frame.ts";
import { type Message, WINDOW_BYTES } from "./messages.ts";

/** Credit is given back in pieces of this size, so that it costs a small message per two megabytes. */
const CREDIT_STEP_BYTES = WINDOW_BYTES / 4;
/** Unread chunks are joined up to this size: enough to bound their number, too little for the copies to matter. */
const JOINED_BYTES = 2048;

export interface IncomingContentOptions {
  /** Told of bytes that the reader has taken, a step at a time. */
  readonly onRead: (bytes: number) => void;
  /** Where the memory of the frames comes from. */
  readonly pool: Recycler;
}

/**
 * A Readable that keeps its frames in a queue of its own and hands out one at a time: the queue of Readable would join
 * all of them into one new buffer for a reader that is behind.
 */
export class IncomingContent extends Readable {
  readonly #options: IncomingContentOptions;
  readonly #queue: Buffer[] = [];
  #wanted = false;
  #complete = false;
  #receivedBytes = 0;
  #takenBytes = 0;
  #creditedBytes = 0;
  #digest = 0;

  constructor(options: IncomingContentOptions) {
    super({ highWaterMark: 1 });
    this.#options = options;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** Takes the content of a frame with the frame's checksum; CORRUPT_STREAM if the sender does not keep to the window. */
  accept(streamId: number, chunk: Buffer, frameCrc: number): void {
    this.#receivedBytes += chunk.length;
    if (this.#receivedBytes - this.#creditedBytes > WINDOW_BYTES) {
      throw new DrayError("CORRUPT_STREAM", `page stream: stream ${streamId} sent more than its window`);
    }
    this.#digest = chainDigest(this.#digest, frameCrc);
    const last = this.#queue.at(-1);
    // Each chunk costs more than its bytes, and the window counts only these.
    if (last !== undefined && last.length + chunk.length <= JOINED_BYTES) {
      this.#queue[this.#queue.length - 1] = Buffer.concat([last, chunk]);
    } else {
      this.#queue.push(chunk);
    }
    this.#handOut();
  }

  /** Ends the content; CORRUPT_STREAM if what came is not what was sent. */
  finish(closing: Message<"closeFile">, sizeBytes: number | undefined): void {
    if (closing.bytes !== this.#receivedBytes || closing.digest !== this.#digest) {
      throw new DrayError(
        "CORRUPT_STREAM",
        `${closing.bytes} bytes were sent, ${this.#receivedBytes} came, or not the same ones`,
      );
    }
    if (sizeBytes !== undefined && sizeBytes !== this.#receivedBytes) {
      throw new DrayError("CORRUPT_STREAM", `${sizeBytes} bytes were announced, ${this.#receivedBytes} came`);
    }
    this.#complete = true;
    this.#handOut();
  }

  /** For readers that know when they are done with a chunk as they got it: its memory may be used again. */
  recycle(chunk: Buffer): void {
    this.#options.pool.giveBack(chunk);
  }

  override _read(): void {
    this.#wanted = true;
    // A push from within would be joined with what is still unread.
    process.nextTick(() => this.#handOut());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#queue.length = 0;
    done(error);
  }

  #handOut(): void {
    if (!this.#wanted || this.destroyed) return;
    const chunk = this.#queue.shift();
    if (chunk !== undefined) {
      // Before push(), which may ask for the next one at once.
      this.#wanted = false;
      this.#takenBytes += chunk.length;
      this.#giveCredit();
      this.push(chunk);
    } else if (this.#complete) {
      this.#wanted = false;
      this.push(null);
    }
  }

  #giveCredit(): void {
    const unreportedBytes = this.#takenBytes - this.#creditedBytes;
    if (unreportedBytes < CREDIT_STEP_BYTES) return;
    this.#creditedBytes += unreportedBytes;
    this.#options.onRead(unreportedBytes);
  }
}
