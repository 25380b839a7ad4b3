/**
 * The small messages between the two ends, JSON inside frames.
 *
 * ```
 *  client (source agent)                     server (destination agent)
 *    hello {versions, migration, token} ─────────►
 *    ◄──────────────── welcome {version, window} | refusal {reason, message}
 *    openFile(1) {kind, name, metadata} ─────────►
 *    data(1) data(1) … data(2) …        ─────────►   streams interleave freely; packedData or compressedData where it pays
 *    ◄───────────────────────────────── credit(1) {bytes}
 *    closeFile(1) {bytes, digest}       ─────────►   all bytes sent
 *    ◄─────────────── delivered(1) {bytes, reply} | error(1) {reason, …}
 *    bye                                ─────────►
 * ```
 *
 * Instead of a Hello, a client may ask only whether it would be understood; it needs no token, and gets nothing else:
 *
 * ```
 *    inquiry {versions}                 ─────────►
 *    ◄──────────────── offer {version}         | refusal {reason, message}
 *    bye                                ─────────►
 * ```
 *
 * If both ends have lanes (see lanes/), the Welcome names the ports of those that are offered, and a secret:
 *
 * ```
 *  lane of the client                        lane of the server, a port and a connection each
 *    laneHello {lane, secret}           ─────────►
 *    ◄──────────────── laneWelcome             | refusal {reason, message}
 *    openFile(s) data(s) … closeFile(s) ─────────►   of striped files, dealt to the lanes in turn: 0, 1, …, 0, 1, …
 * ```
 *
 * The receiver takes frames from the lanes in the same turn, so that all of them together are in one order. Everything
 * else, what it says of striped files included, goes over the first connection. Streams on lanes have numbers of their
 * own, above LANE_STREAMS.
 *
 * Either side may send error(stream) to give up one file, error(0) to give up the connection, and pings while it has
 * nothing to say. All counts of bytes, and the digest, are of the content, before compression. A sender never has more
 * than the window of unread bytes under way in one stream: one slow reader holds up its own file and nothing else, and
 * the receiver's memory is bounded by window × streams.
 */
import { z } from "zod";
import { DrayError, drayErrorFromParts, toDrayError } from "../errors/dray-error.ts";
import { encodeFrame, type Frame } from "./frame.ts";
import type { JsonValue } from "./transfer-types.ts";

/** Versions of the conversation; a frame's own version says how to read frames. */
export const PROTOCOL_VERSIONS: readonly number[] = [11];
/** Unread bytes that one stream may have under way. */
export const WINDOW_BYTES = 8 * 1024 * 1024;
/** Files under way at one time; a sender with more waits for a free place. */
export const STREAM_LIMIT = 8;
/** Lanes that one transfer may have. */
export const LANE_LIMIT = 8;
/** Numbers of streams on lanes are above this, all others below. */
export const LANE_STREAMS = 0x8000_0000;

const JSON_LIMIT_BYTES = 512 * 1024;

const count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const json: z.ZodType<JsonValue> = z.json();
const failure = z.object({
  reason: z.string().max(100),
  message: z.string().max(65_536),
  remedy: z.string().max(65_536),
  node: z.string().max(300),
});

const schemas = {
  hello: z.object({
    versions: z.array(count).min(1).max(64),
    migrationId: z.string().min(1).max(100),
    token: z.string().min(1).max(1000),
    silenceLimitMs: count.min(1),
    /** How many the sender could use; senders of an earlier version, who are refused for that, do not say. */
    lanes: count.max(LANE_LIMIT).default(0),
  }),
  inquiry: z.object({ versions: z.array(count).min(1).max(64) }),
  offer: z.object({ version: count }),
  welcome: z.object({
    version: count,
    windowBytes: count.min(1),
    silenceLimitMs: count.min(1),
    /** All of these are used, or none; the secret binds them to this connection. */
    lanes: z.object({ ports: z.array(count.min(1).max(65_535)).max(LANE_LIMIT), secret: z.string().max(1000) }),
  }),
  laneHello: z.object({ lane: count.max(LANE_LIMIT - 1), secret: z.string().min(1).max(1000) }),
  laneWelcome: z.object({}),
  refusal: failure,
  openFile: z.object({
    kind: z.string().min(1).max(100),
    name: z.string().min(1).max(4096),
    metadata: z.record(z.string(), json),
    sizeBytes: count.optional(),
  }),
  closeFile: z.object({ bytes: count, digest: count.max(0xffffffff) }),
  delivered: z.object({ bytes: count, reply: json }),
  error: failure,
  credit: z.object({ bytes: count.min(1) }),
  /** From the receiver to the sender, about one file: what it wants next, in words of their own. */
  word: z.object({ word: json }),
  ping: z.object({}),
  bye: z.object({}),
} as const;

export type MessageType = keyof typeof schemas;
export type Message<T extends MessageType> = z.infer<(typeof schemas)[T]>;

/** Encodes a message; BAD_REQUEST if it is too large or does not keep to its own schema. */
export function encodeMessage<T extends MessageType>(type: T, streamId: number, message: Message<T>): Buffer {
  const checked = schemas[type].safeParse(message);
  if (!checked.success) throw new DrayError("BAD_REQUEST", `page stream: ${type}: ${z.prettifyError(checked.error)}`);
  const payload = Buffer.from(JSON.stringify(checked.data));
  if (payload.length > JSON_LIMIT_BYTES) {
    throw new DrayError("BAD_REQUEST", `page stream: ${type} of ${payload.length} bytes, limit ${JSON_LIMIT_BYTES}`);
  }
  return encodeFrame(type, streamId, payload);
}

/** Reads a message of the type that the caller expects; CORRUPT_STREAM if it is none. */
export function decodeMessage<T extends MessageType>(type: T, frame: Frame): Message<T> {
  if (frame.type !== type) throw new DrayError("CORRUPT_STREAM", `page stream: ${frame.type} where ${type} must come`);
  if (frame.payload.length > JSON_LIMIT_BYTES) {
    throw new DrayError("CORRUPT_STREAM", `page stream: ${type} of ${frame.payload.length} bytes`);
  }
  let value: unknown;
  try {
    value = JSON.parse(frame.payload.toString("utf8"));
  } catch (cause) {
    throw new DrayError("CORRUPT_STREAM", `page stream: ${type} is not JSON`, { cause });
  }
  const checked = schemas[type].safeParse(value);
  if (checked.success) return checked.data as Message<T>;
  throw new DrayError("CORRUPT_STREAM", `page stream: ${type}: ${z.prettifyError(checked.error)}`);
}

export function failureOf(thrown: unknown): Message<"error"> {
  const { reason, message, remedy, node } = toDrayError(thrown);
  return { reason, message: message.slice(0, 65_536), remedy: remedy.slice(0, 65_536), node: node.slice(0, 300) };
}

export function errorOf(failed: Message<"error">): DrayError {
  return drayErrorFromParts(failed.reason, failed.message, { remedy: failed.remedy, node: failed.node });
}

/** The highest version that both speak; undefined if there is none. */
export function chooseVersion(offered: readonly number[]): number | undefined {
  const common = PROTOCOL_VERSIONS.filter((version) => offered.includes(version));
  return common.length === 0 ? undefined : Math.max(...common);
}
