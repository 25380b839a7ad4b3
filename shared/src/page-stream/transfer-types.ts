/** What the two ends of a transfer offer to their callers; see transfer-client.ts and transfer-server.ts. */
import type { Readable } from "node:stream";
import type { Identity } from "../identity/identity.ts";
import type { LaneThreads } from "./lanes/lane-threads.ts";

/** For a log. */
export type OnIncident = (message: string, details: Record<string, unknown>) => void;

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };
export type JsonObject = { readonly [key: string]: JsonValue };

/** What a file is, in the receiver's eyes. Free words, for example "criu-image", "image" or "layer". */
export interface FileDescription {
  readonly kind: string;
  /** Name within its kind; the receiver must judge it before it makes a path of it. */
  readonly name: string;
  /** Anything else the receiver has to know, at most 512 KiB as JSON. Keys called `__proto__` are dropped. */
  readonly metadata?: JsonObject;
  /** Exact size if it is known; the transfer fails if another number of bytes comes. */
  readonly sizeBytes?: number;
}

/** A file on disk, from `startBytes` (default 0) to its end as it is when it is reached. */
export interface FileSource {
  readonly path: string;
  readonly startBytes?: number;
}

export interface SendOptions {
  /** Ends this file alone; the receiver gets the error, the connection goes on. */
  readonly signal?: AbortSignal;
  /** Called with the bytes of this file handed to the socket so far: now and then, ten times a second at most, and at its end. */
  readonly onProgress?: (sentBytes: number) => void;
  /**
   * The content is large: it goes over the lanes, if there are any. Files that are wanted in small pieces, each as soon
   * as it can be there, are better without.
   */
  readonly striped?: boolean;
  /** Called with what the receiver says about this file while it receives it. */
  readonly onWord?: (word: JsonValue) => void;
}

export interface SendResult {
  /** Bytes of the file, as the receiver counted them. */
  readonly bytes: number;
  /** What the receiver's `receive` returned; null if nothing. */
  readonly reply: JsonValue;
}

export interface TransferTarget {
  readonly identity: Identity;
  /** "host:port", tried in this order. */
  readonly addresses: readonly string[];
  /** Name of the agent that must answer. */
  readonly peerName: string;
  readonly token: string;
  readonly migrationId: string;
  /** Breaks the connection and everything on it with CANCELLED. */
  readonly signal?: AbortSignal;
  /** For each address: from the SYN to the Welcome. Default 5000. */
  readonly connectDeadlineMs?: number;
  /** The peer is given up after this long without a sign of life. Default 10000. */
  readonly silenceLimitMs?: number;
  readonly bandwidthLimitBytesPerSecond?: number;
  /** To have lanes, as many as both ends can; without, everything goes over one connection. */
  readonly lanes?: LaneThreads | undefined;
  /** Told of what no caller sees: lanes that cannot be had. */
  readonly onIncident?: OnIncident;
}

export interface TransferConnection {
  /** Resolves when the receiver has accepted the whole file; rejects with the receiver's DrayError, or the sender's. */
  send(file: FileDescription, source: Readable | FileSource, options?: SendOptions): Promise<SendResult>;
  /** As `send`, of chunks that are made one after the other; the maker may use a chunk's memory again for the next, and sends an empty one before it waits. */
  sendChunks(file: FileDescription, chunks: AsyncIterable<Buffer>, options?: SendOptions): Promise<SendResult>;
  /** Changes the cap for everything sent from now on; undefined lifts it. */
  setBandwidthLimit(bytesPerSecond: number | undefined): void;
  /** Bytes of frames handed to the sockets so far, lanes included, before TLS. */
  readonly wireBytes: number;
  /** Settles when the connection has ended: undefined after close(), else the reason. */
  readonly ended: Promise<Error | undefined>;
  /** Ends in good order. Files not yet delivered fail with CANCELLED. */
  close(): Promise<void>;
}

/** One file as it arrives. */
export interface IncomingFile {
  readonly kind: string;
  readonly name: string;
  readonly metadata: JsonObject;
  readonly sizeBytes: number | undefined;
  /**
   * The content; reading it slowly slows this file's sender and nothing else. It ends only after length and digest
   * were found right, and fails with a DrayError when the sender failed, the connection was lost or a check failed.
   */
  readonly content: Readable;
  /** What has come of it so far, as it was on its way: compressed, framed, before TLS. Over lanes: as it was before that. */
  readonly wireBytes: number;
  /** Tells the sender something, at most 512 KiB as JSON. Nothing happens once the file has ended. */
  say(word: JsonValue): void;
}

/** Leave to send: one migration, one sending agent. */
export interface TransferGrant {
  readonly token: string;
  readonly migrationId: string;
  /** Name of the only agent that may use it. */
  readonly peerName: string;
  /**
   * Called for each file, several at a time. Must read `content` to its end. When it resolves, the sender is told that
   * the file is delivered, so resolve after whatever durability that shall mean. A rejection goes to the sender.
   */
  receive(file: IncomingFile): Promise<JsonValue> | Promise<void>;
}

export interface Authorisation {
  /** Bytes of file content received so far. */
  readonly receivedBytes: number;
  /** The token is worth nothing from now on; a live connection is broken; resolves after all `receive` calls have settled. */
  revoke(): Promise<void>;
}

export interface TransferServer {
  readonly port: number;
  authorise(grant: TransferGrant): Authorisation;
  /** Revokes everything and stops listening. */
  close(): Promise<void>;
}

export interface TransferServerOptions {
  readonly identity: Identity;
  /** "host:port"; port 0 for any. */
  readonly address: string;
  /** Connections at one time, those in their handshake included; more are closed at once. Default 64. */
  readonly connectionLimit?: number;
  /** From the accepted connection to a valid Hello. Default 5000. */
  readonly handshakeDeadlineMs?: number;
  /** A sender is given up after this long without a sign of life. Default 10000. */
  readonly silenceLimitMs?: number;
  /** To offer lanes to senders; whoever passes them ends them. */
  readonly lanes?: LaneThreads | undefined;
  /** Told of what no caller sees: refused peers, broken connections. */
  readonly onIncident?: OnIncident;
}
