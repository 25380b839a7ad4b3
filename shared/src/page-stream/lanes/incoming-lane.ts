/** The receiving end of one lane, in its thread: shut until the main thread admits it, then frames are checked and handed on. */
import type { TLSSocket } from "node:tls";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { DrayError } from "../../errors/dray-error.ts";
import { decompress } from "../compression.ts";
import type { Frame } from "../frame.ts";
import { FramedSocket } from "../framed-socket.ts";
import { decodeMessage, errorOf, failureOf } from "../messages.ts";
import { agentBehind, HANDSHAKE_DEADLINE_MS } from "../page-door.ts";
import type { LaneArrival, LaneOrder, LaneReport } from "./lane-messages.ts";

/**
 * Frames handed to the main thread that it has not taken. It takes every lane in its turn, so a lane that is ahead of
 * the others is not read any further; one that is waited for has none there.
 */
const UNTAKEN_LIMIT_FRAMES = 8;

export interface LaneDoor {
  readonly onIncident: (message: string, details: Record<string, unknown>) => void;
  /** To be told of who came; its port belongs to the main thread. */
  readonly onArrival: (arrival: LaneArrival) => void;
}

/** Takes over a connection whose certificate TLS has found good. */
export function greetLane(socket: TLSSocket, door: LaneDoor): void {
  const { onIncident } = door;
  const address = `${socket.remoteAddress}:${socket.remotePort}`;
  let port: MessagePort | undefined;
  let isAdmitted = false;
  let untaken = 0;
  const framed = new FramedSocket(socket, {
    // Until the main thread says what the two have agreed upon.
    silenceLimitMs: 2 * HANDSHAKE_DEADLINE_MS,
    peerName: address,
    onFrame: (frame) => {
      if (isAdmitted && port !== undefined) handOn(port, frame);
      else knock(frame);
    },
    onEnd: (error) => {
      clearTimeout(deadline);
      if (port === undefined) return;
      const ended: LaneReport = { kind: "ended", failure: error === undefined ? null : failureOf(error) };
      port.postMessage(ended);
      port.close();
    },
  });
  const deadline = setTimeout(() => {
    framed.end(new DrayError("TIMEOUT", `${address} said nothing for ${HANDSHAKE_DEADLINE_MS} ms`));
    onIncident("page connection refused: no Hello", { address });
  }, HANDSHAKE_DEADLINE_MS);

  function knock(frame: Frame): void {
    if (port !== undefined) throw new DrayError("CORRUPT_STREAM", "page stream: a lane speaks before it was admitted");
    clearTimeout(deadline);
    const hello = decodeMessage("laneHello", frame);
    const peer = agentBehind(socket);
    if (peer instanceof DrayError) return refuse(failureOf(peer));
    const { port1, port2 } = new MessageChannel();
    port = port1;
    port.on("message", onOrder);
    port.on("close", () => framed.end(undefined));
    door.onArrival({ kind: "arrived", peerName: peer.name, hello, port: port2 });
  }

  function onOrder(order: LaneOrder): void {
    if (order.kind === "admit") {
      isAdmitted = true;
      framed.setSilenceLimit(order.silenceLimitMs);
      framed.send("laneWelcome", 0, {});
    } else if (order.kind === "refuse") {
      refuse(order.failure);
    } else if (order.kind === "taken") {
      for (const memory of order.memory) framed.pool.adopt(memory);
      const wasFull = untaken >= UNTAKEN_LIMIT_FRAMES;
      untaken -= order.frames;
      if (wasFull && untaken < UNTAKEN_LIMIT_FRAMES) framed.resume();
    }
  }

  function refuse(failure: ReturnType<typeof failureOf>): void {
    onIncident("page connection refused", { address, reason: failure.reason, message: failure.message });
    framed.endWith("refusal", failure, errorOf(failure));
  }

  function handOn(to: MessagePort, frame: Frame): void {
    if (frame.type === "error" && frame.streamId === 0) throw errorOf(decodeMessage("error", frame));
    const { streamId, crc } = frame;
    const isPacked = frame.type === "packedData" || frame.type === "compressedData";
    const payload = isPacked ? unpack({ ...frame, type: frame.type as "packedData" }) : frame.payload;
    const memory = payload.buffer as ArrayBuffer;
    const report: LaneReport = {
      kind: "frame",
      type: isPacked ? "data" : frame.type,
      streamId,
      crc,
      memory,
      bytes: payload.length,
    };
    to.postMessage(report, [memory]);
    untaken += 1;
    if (untaken === UNTAKEN_LIMIT_FRAMES) framed.pause();
  }

  function unpack(frame: Frame & { readonly type: "packedData" | "compressedData" }): Buffer {
    const { pool } = framed;
    return decompress(
      frame,
      (bytes) => pool.take(bytes),
      (memory) => pool.giveBack(memory),
    );
  }
}
