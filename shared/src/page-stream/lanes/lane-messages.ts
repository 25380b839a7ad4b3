/**
 * What the agent's main thread and the thread of a lane say to each other. Each lane, that is each connection, has a
 * MessagePort of its own between the two, beside the one of the thread itself. Content changes hands: its memory is
 * transferred, never copied.
 */
import type { MessagePort } from "node:worker_threads";
import type { Identity } from "../../identity/identity.ts";
import type { FrameType } from "../frame.ts";
import type { Message } from "../messages.ts";

/** What a thread is started with. */
export interface LaneThreadData {
  readonly identity: Identity;
  readonly host: string;
  /** 0 for any. */
  readonly tcpPort: number;
}

/** To a thread: connect as the lane of a transfer. */
export interface LaneDial {
  readonly host: string;
  readonly tcpPort: number;
  /** Name of the agent that must answer. */
  readonly peerName: string;
  readonly hello: Message<"laneHello">;
  readonly silenceLimitMs: number;
  /** From the SYN to the laneWelcome; the main thread sees to it. */
  readonly deadlineMs: number;
  /** The thread's end of the lane's port; the lane ends when it is closed. */
  readonly port: MessagePort;
}

/** From a thread: an agent of the cluster has connected and wants to be a lane. */
export interface LaneArrival {
  readonly kind: "arrived";
  readonly peerName: string;
  readonly hello: Message<"laneHello">;
  /** The main thread's end of the lane's port; the lane ends when it is closed. */
  readonly port: MessagePort;
}

/** From a thread. */
export type LaneThreadReport =
  | { readonly kind: "listening"; readonly tcpPort: number }
  | { readonly kind: "failed"; readonly failure: Message<"error"> }
  | { readonly kind: "incident"; readonly message: string; readonly details: Record<string, unknown> }
  | LaneArrival;

/** To a lane that has dialled. */
export interface LaneContent {
  readonly kind: "content";
  readonly streamId: number;
  /** Has room for packing, see frame-carrier.ts. */
  readonly space: ArrayBuffer;
  readonly bytes: number;
  /** How long the bandwidth cap of all lanes has kept it waiting. */
  readonly heldMs: number;
}

/** To a lane. */
export type LaneOrder =
  | LaneContent
  /** Of one that has dialled: a whole frame. */
  | { readonly kind: "message"; readonly frame: Uint8Array }
  /** Of one that has arrived. */
  | { readonly kind: "admit"; readonly silenceLimitMs: number }
  | { readonly kind: "refuse"; readonly failure: Message<"refusal"> }
  /** So many frames were taken; with memory that is not needed any more. */
  | { readonly kind: "taken"; readonly frames: number; readonly memory: readonly ArrayBuffer[] };

/** A frame as it leaves a lane: checked, and content as it was before it was made smaller. */
export interface LaneFrame {
  readonly kind: "frame";
  readonly type: FrameType;
  readonly streamId: number;
  readonly crc: number;
  readonly memory: ArrayBuffer;
  readonly bytes: number;
}

/** From a lane. */
export type LaneReport =
  | { readonly kind: "open" }
  /** Orders are answered in their turn; a message with nothing but what it took. */
  | { readonly kind: "sent"; readonly wireBytes: number; readonly content?: { space: ArrayBuffer; crc: number } }
  | LaneFrame
  /** The last. Null after a goodbye. */
  | { readonly kind: "ended"; readonly failure: Message<"error"> | null };
