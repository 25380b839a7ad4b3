/**
 * What CRIU and a page server say to each other: `struct page_server_iov` and `PS_IOV_*` in criu/page-xfer.c of its
 * sources. Pure.
 *
 * ```
 *  CRIU up to 4.1.1, 24 bytes              CRIU from 4.2 on, 32 bytes
 *  0      4          8       16      24    0      4         8          16      24      32
 * ┌──────┬──────────┬───────┬────────┐    ┌──────┬─────────┬──────────┬───────┬────────┐
 * │ cmd  │ nr_pages │ vaddr │ dst_id │    │ cmd  │ padding │ nr_pages │ vaddr │ dst_id │
 * │ u32  │ u32      │ u64   │ u64    │    │ u32  │         │ u64      │ u64   │ u64    │
 * └──────┴──────────┴───────┴────────┘    └──────┴─────────┴──────────┴───────┴────────┘
 *
 *  cmd = flags << 16 | operation         dst_id = id << 8 | type, but in a lazy request the pid alone
 * ```
 *
 * Host byte order, which is little-endian wherever this runs. Neither magic nor version tell the two apart; see
 * stream-decoder.ts.
 */
import type { ImageId, ImageKind } from "../memory-image/page-range.ts";

export type HeaderBytes = 24 | 32;

export const OPERATIONS = {
  /** Present pages; as addFlagged with PRESENT. Of clients before CRIU 2. */
  add: 1,
  /** Pages that the parent has; as addFlagged with PARENT. Of the same clients. */
  hole: 2,
  /** As openAnswered, without an answer. Of the same clients. */
  open: 3,
  /** Closes the image before and opens the next; answered with one byte: whether the parent has that image. */
  openAnswered: 4,
  /** Whether the parent has an image, which is not opened; answered with an int32. Asked while a pre-dump freezes. */
  parent: 5,
  /** A range, and if it is PRESENT its content. Not answered. */
  addFlagged: 6,
  /** A request for pages; answered with addFlagged, PRESENT, perhaps for fewer pages, and their content. */
  get: 7,
  /**
   * No more is to come; answered with an int32, 0, once all of it is safe. CRIU says this after a dump that failed, too:
   * it is no word on the dump.
   */
  close: 0x1023,
  /** The same, from a client whose end of the connection may stay open. */
  forceClose: 0x1024,
} as const;

export type Operation = keyof typeof OPERATIONS;

const TYPES: Readonly<Record<ImageKind, number>> = { task: 1, shared: 2 };
const TYPE_RADIX = 256;
const WORD = 2 ** 32;

export interface Command {
  readonly operation: Operation;
  readonly flags?: number;
  readonly vaddr?: number;
  readonly pages?: number;
  /** dst_id, as `destinationOf` makes it, or a pid. */
  readonly destination?: bigint;
}

export function destinationOf({ kind, id }: ImageId): bigint {
  return BigInt(id) * BigInt(TYPE_RADIX) + BigInt(TYPES[kind]);
}

/** The image that a dst_id names, given its two halves; null if it can name none. */
export function imageOf(low: number, high: number): ImageId | null {
  const type = low % TYPE_RADIX;
  const id = Math.floor(low / TYPE_RADIX) + high * (WORD / TYPE_RADIX);
  if (!Number.isSafeInteger(id)) return null;
  if (type === TYPES.task) return { kind: "task", id };
  return type === TYPES.shared ? { kind: "shared", id } : null;
}

/** The header of a command, as a client sends it, or a server in front of the pages that a client has asked for. */
export function encodeCommand(command: Command, headerBytes: HeaderBytes): Buffer {
  const { operation, flags = 0, vaddr = 0, pages = 0, destination = 0n } = command;
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32LE(flags * 0x10000 + OPERATIONS[operation], 0);
  if (headerBytes === 24) header.writeUInt32LE(pages, 4);
  else header.writeBigUInt64LE(BigInt(pages), 8);
  header.writeBigUInt64LE(BigInt(vaddr), headerBytes - 16);
  header.writeBigUInt64LE(destination, headerBytes - 8);
  return header;
}

/** The answer to openAnswered. */
export function encodeOpenAnswer(hasParent: boolean): Buffer {
  return Buffer.from([hasParent ? 1 : 0]);
}

/** The answer to parent. */
export function encodeParentAnswer(hasParent: boolean): Buffer {
  return int32(hasParent ? 1 : 0);
}

/** The answer to close and forceClose. CRIU fails with any other number than 0. */
export function encodeCloseAnswer(): Buffer {
  return int32(0);
}

function int32(value: number): Buffer {
  const answer = Buffer.alloc(4);
  answer.writeInt32LE(value);
  return answer;
}
