/** What the frames of a file travel on: the connection itself, or lanes beside it. */
import { FrameCompressor, PACKING_BYTES } from "./compression.ts";
import { HEADER_BYTES, sealContent } from "./frame.ts";
import type { FramedSocket } from "./framed-socket.ts";
import type { Message } from "./messages.ts";
import type { SendingCost } from "./sending-cost.ts";

/** Memory for a frame of content: the header's place, then the content's, with what packing needs. */
export const SPACE_BYTES = HEADER_BYTES + PACKING_BYTES;

/** What a sender says of one file. */
export type FileMessageType = "openFile" | "closeFile" | "error";

export interface SentContent {
  /** The memory, for the next frame. */
  readonly space: Buffer;
  /** Of the frame, as the file's digest wants it. */
  readonly crc: number;
}

export interface FrameCarrier {
  /** Spaces that keep it busy, one that is being filled included. */
  readonly spaces: number;
  /** Sends the `bytes` that lie behind the header's place; resolves when the memory may be used again. */
  sendContent(streamId: number, space: Buffer, bytes: number): Promise<SentContent>;
  /** Content of this stream that has not been handed to a socket yet fails: what waits for a bandwidth cap may wait for long. */
  withdraw(streamId: number, error: Error): void;
  /** Never overtakes content that was sent and is settled. Nothing happens once the connection has ended. */
  sendMessage<T extends FileMessageType>(type: T, streamId: number, message: Message<T>): void;
}

/** The frames of one file on the connection that carries everything else, too. */
export class SocketCarrier implements FrameCarrier {
  /** One is filled, one is sealed and waits, one is being encrypted. */
  readonly spaces = 3;
  readonly #socket: FramedSocket;
  readonly #compressor = new FrameCompressor();

  constructor(socket: FramedSocket) {
    this.#socket = socket;
  }

  async sendContent(streamId: number, space: Buffer, bytes: number): Promise<SentContent> {
    const { frame, crc } = sealSpace(this.#compressor, { streamId, space, bytes, cost: this.#socket.sendingCost });
    await this.#socket.writeData(frame);
    return { space, crc };
  }

  withdraw(streamId: number, error: Error): void {
    this.#socket.withdraw(streamId, error);
  }

  sendMessage<T extends FileMessageType>(type: T, streamId: number, message: Message<T>): void {
    this.#socket.send(type, streamId, message);
  }
}

export interface FilledSpace {
  readonly streamId: number;
  readonly space: Buffer;
  readonly bytes: number;
  /** Of the way that the frame will take. */
  readonly cost: SendingCost | undefined;
}

/** Makes a frame of the content, in place. */
export function sealSpace(
  compressor: FrameCompressor,
  { streamId, space, bytes, cost }: FilledSpace,
): { frame: Buffer; crc: number } {
  const made = compressor.compress(space.subarray(HEADER_BYTES), { bytes, streamId, cost });
  sealContent(space, { type: made.type, streamId, payloadBytes: made.bytes, crc: made.crc });
  return { frame: space.subarray(0, HEADER_BYTES + made.bytes), crc: made.crc };
}
