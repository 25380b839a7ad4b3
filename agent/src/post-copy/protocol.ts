/**
 * Codec of what the agent and drayage-fault-server say to each other; agent/fault-server/protocol.h describes it. Pure:
 * bytes in, messages out. Numbers are little endian.
 *
 * Addresses are those of the images, multiples of 4096 below 2^53 (user space has 2^47, or 2^52, bytes). A task is a
 * process by its pid inside the container.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";

export const PROTOCOL_VERSION = 1;
/** What one frame of pages carries at most. */
export const MAX_PAGES_PER_FRAME = 256;
const MAX_PAYLOAD_BYTES = 16 + MAX_PAGES_PER_FRAME * PAGE_BYTES;
const HEAD_BYTES = 8;
const RANGES_HEAD_BYTES = 8;
const RANGE_BYTES = 16;
const STATE_HEAD_BYTES = 16;
const FAULT_BYTES = 16;
const PROGRESS_BYTES = 48;
const MAX_RANGES_PER_FRAME = 4096;

const TYPES = {
  ranges: 1,
  listen: 2,
  pages: 3,
  zeros: 4,
  end: 5,
  state: 64,
  remaining: 65,
  stateEnd: 66,
  task: 67,
  restored: 68,
  failed: 69,
  fault: 70,
  dropped: 71,
  progress: 72,
  trouble: 73,
  refused: 74,
  done: 75,
} as const;

const FLAGS = { listening: 1, restored: 2, failed: 4 } as const;

/** A run of pages, at least one. */
export interface PageRange {
  readonly start: number;
  readonly pages: number;
}

export interface FaultProgress {
  readonly placedPages: number;
  /** Faults for pages that were missing. */
  readonly faults: number;
  /** Faults that wait now. */
  readonly waiting: number;
  /** Of the faults that are over, from their reading by the server on. */
  readonly longestWaitUs: number;
  readonly meanWaitUs: number;
}

export type ServerMessage =
  | {
      readonly type: "state";
      readonly version: number;
      readonly listening: boolean;
      readonly restored: boolean;
      readonly failed: boolean;
      readonly tasks: readonly number[];
    }
  | { readonly type: "remaining" | "dropped"; readonly task: number; readonly ranges: readonly PageRange[] }
  | { readonly type: "task"; readonly task: number; readonly zombie: boolean }
  | { readonly type: "fault"; readonly task: number; readonly address: number }
  | { readonly type: "progress"; readonly progress: FaultProgress }
  | { readonly type: "trouble" | "refused"; readonly message: string }
  | { readonly type: "stateEnd" | "restored" | "failed" | "done" };

/** As many frames as the ranges need, one at least: a task without ranges is also to be named. */
export function encodeRanges(kind: "ranges" | "zeros", task: number, ranges: readonly PageRange[]): Buffer[] {
  const frames: Buffer[] = [];
  for (let first = 0; first === 0 || first < ranges.length; first += MAX_RANGES_PER_FRAME) {
    const some = ranges.slice(first, first + MAX_RANGES_PER_FRAME);
    const frame = frameOf(TYPES[kind], RANGES_HEAD_BYTES + some.length * RANGE_BYTES);
    frame.writeUInt32LE(task, HEAD_BYTES);
    let at = HEAD_BYTES + RANGES_HEAD_BYTES;
    for (const { start, pages } of some) {
      writeNumber(frame, start, at);
      writeNumber(frame, pages, at + 8);
      at += RANGE_BYTES;
    }
    frames.push(frame);
  }
  return frames;
}

/** What stands before the pages in their frame. `bytes` is a multiple of 4096, from one to 256 pages. */
export function encodePagesHead(task: number, start: number, bytes: number): Buffer {
  const frame = Buffer.alloc(HEAD_BYTES + 16);
  frame.writeUInt32LE(TYPES.pages, 0);
  frame.writeUInt32LE(16 + bytes, 4);
  frame.writeUInt32LE(task, 8);
  frame.writeUInt32LE(bytes / PAGE_BYTES, 12);
  writeNumber(frame, start, 16);
  return frame;
}

export function encodeSignal(kind: "listen" | "end"): Buffer {
  return frameOf(TYPES[kind], 0);
}

function frameOf(type: number, length: number): Buffer {
  const frame = Buffer.alloc(HEAD_BYTES + length);
  frame.writeUInt32LE(type, 0);
  frame.writeUInt32LE(length, 4);
  return frame;
}

/** Collects frames from the server's stream. */
export class ServerFrames {
  #rest = Buffer.alloc(0);

  /** The messages that the chunk has completed. Throws DrayError CORRUPT_STREAM on what is none. */
  push(chunk: Buffer): ServerMessage[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const messages: ServerMessage[] = [];
    let at = 0;
    while (bytes.length - at >= HEAD_BYTES) {
      const length = bytes.readUInt32LE(at + 4);
      if (length > MAX_PAYLOAD_BYTES) throw corrupt(`a frame of ${length} bytes`);
      const end = at + HEAD_BYTES + length;
      if (bytes.length < end) break;
      messages.push(decode(bytes.readUInt32LE(at), bytes.subarray(at + HEAD_BYTES, end)));
      at = end;
    }
    // A copy: the chunk may be a part of a large buffer.
    this.#rest = Buffer.from(bytes.subarray(at));
    return messages;
  }
}

function decode(type: number, payload: Buffer): ServerMessage {
  switch (type) {
    case TYPES.state:
      return decodeState(payload);
    case TYPES.remaining:
      return { type: "remaining", ...decodeRanges(payload) };
    case TYPES.dropped:
      return { type: "dropped", ...decodeRanges(payload) };
    case TYPES.task: {
      expectLength(payload, 4);
      const task = payload.readInt32LE(0);
      return { type: "task", task: Math.abs(task), zombie: task < 0 };
    }
    case TYPES.fault:
      expectLength(payload, FAULT_BYTES);
      return { type: "fault", task: payload.readUInt32LE(0), address: readNumber(payload, 8) };
    case TYPES.progress:
      return { type: "progress", progress: decodeProgress(payload) };
    case TYPES.trouble:
      return { type: "trouble", message: payload.toString("utf8") };
    case TYPES.refused:
      return { type: "refused", message: payload.toString("utf8") };
    case TYPES.stateEnd:
      expectLength(payload, 0);
      return { type: "stateEnd" };
    case TYPES.restored:
      expectLength(payload, 0);
      return { type: "restored" };
    case TYPES.failed:
      expectLength(payload, 0);
      return { type: "failed" };
    case TYPES.done:
      expectLength(payload, 0);
      return { type: "done" };
    default:
      throw corrupt(`a frame of type ${type}`);
  }
}

function decodeState(payload: Buffer): ServerMessage {
  if (payload.length < STATE_HEAD_BYTES) throw corrupt("a short state");
  const flags = payload.readUInt32LE(4);
  const count = payload.readUInt32LE(12);
  expectLength(payload, STATE_HEAD_BYTES + count * 4);
  return {
    type: "state",
    version: payload.readUInt32LE(0),
    listening: (flags & FLAGS.listening) !== 0,
    restored: (flags & FLAGS.restored) !== 0,
    failed: (flags & FLAGS.failed) !== 0,
    tasks: Array.from({ length: count }, (_, index) => payload.readUInt32LE(STATE_HEAD_BYTES + index * 4)),
  };
}

function decodeRanges(payload: Buffer): { task: number; ranges: PageRange[] } {
  const count = (payload.length - RANGES_HEAD_BYTES) / RANGE_BYTES;
  if (!Number.isInteger(count) || count < 0) throw corrupt(`ranges of ${payload.length} bytes`);
  const ranges = Array.from({ length: count }, (_, index) => {
    const at = RANGES_HEAD_BYTES + index * RANGE_BYTES;
    return { start: readNumber(payload, at), pages: readNumber(payload, at + 8) };
  });
  return { task: payload.readUInt32LE(0), ranges };
}

function decodeProgress(payload: Buffer): FaultProgress {
  expectLength(payload, PROGRESS_BYTES);
  const over = readNumber(payload, 40);
  return {
    placedPages: readNumber(payload, 0),
    faults: readNumber(payload, 8),
    waiting: readNumber(payload, 16),
    longestWaitUs: readNumber(payload, 24),
    meanWaitUs: over === 0 ? 0 : readNumber(payload, 32) / over,
  };
}

function expectLength(payload: Buffer, length: number): void {
  if (payload.length !== length) throw corrupt(`${payload.length} bytes where ${length} were expected`);
}

function writeNumber(buffer: Buffer, value: number, at: number): void {
  buffer.writeUInt32LE(value % 2 ** 32, at);
  buffer.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

function readNumber(buffer: Buffer, at: number): number {
  const value = buffer.readUInt32LE(at + 4) * 2 ** 32 + buffer.readUInt32LE(at);
  if (!Number.isSafeInteger(value)) throw corrupt("a number of more than 53 bits");
  return value;
}

function corrupt(what: string): DrayError {
  return new DrayError("CORRUPT_STREAM", `the fault server sent ${what}`, {
    remedy: "Agent and drayage-fault-server must be of one version: reinstall the package.",
  });
}
