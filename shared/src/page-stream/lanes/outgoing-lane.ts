/** The sending end of one lane, in its thread: connects, makes content smaller, and sends it. */
import { connect } from "node:tls";
import { toDrayError } from "../../errors/dray-error.ts";
import { type Identity, tlsClientOptions } from "../../identity/identity.ts";
import { FrameCompressor } from "../compression.ts";
import { sealSpace } from "../frame-carrier.ts";
import type { Frame } from "../frame.ts";
import { FramedSocket } from "../framed-socket.ts";
import { decodeMessage, errorOf, failureOf } from "../messages.ts";
import type { LaneDial, LaneOrder, LaneReport } from "./lane-messages.ts";

/** Tells the port when the lane is open, of everything that was sent, and of the end. */
export function dialLane(identity: Identity, dial: LaneDial): void {
  const { host, tcpPort, peerName, hello, silenceLimitMs, deadlineMs, port } = dial;
  const report = (message: LaneReport, transfer: readonly ArrayBuffer[] = []) => port.postMessage(message, transfer);
  /** Of all files that go over this lane; they have much in common. */
  const compressor = new FrameCompressor();
  const tls = connect({ ...tlsClientOptions(identity, { role: "agent", name: peerName }), host, port: tcpPort });
  const socket = new FramedSocket(tls, {
    // Until it is open the main thread's deadline holds.
    silenceLimitMs: 2 * deadlineMs,
    peerName: `${peerName} (${host}:${tcpPort})`,
    onFrame,
    onEnd: (error) => {
      report({ kind: "ended", failure: error === undefined ? null : failureOf(error) });
      port.close();
    },
  });
  tls.once("secureConnect", () => socket.send("laneHello", 0, hello));
  port.on("message", onOrder);
  port.on("close", () => socket.end(undefined));

  function onFrame(frame: Frame): void {
    if (frame.type === "refusal") return socket.end(errorOf(decodeMessage("refusal", frame)));
    if (frame.type === "error") throw errorOf(decodeMessage("error", frame));
    decodeMessage("laneWelcome", frame);
    socket.setSilenceLimit(silenceLimitMs);
    report({ kind: "open" });
  }

  function onOrder(order: LaneOrder): void {
    if (order.kind === "message") void send(Buffer.from(order.frame));
    else if (order.kind === "content") {
      const { space, streamId, bytes, heldMs } = order;
      socket.heldBefore(heldMs);
      const { frame, crc } = sealSpace(compressor, {
        streamId,
        space: Buffer.from(space),
        bytes,
        cost: socket.sendingCost,
      });
      void send(frame, { space, crc });
    }
  }

  async function send(frame: Buffer, content?: { space: ArrayBuffer; crc: number }): Promise<void> {
    const wireBytes = frame.length;
    try {
      await socket.writeData(frame);
    } catch (thrown) {
      // The end of the socket is reported anyway; what only this frame knows of ends it.
      socket.end(toDrayError(thrown));
      return;
    }
    if (content === undefined) report({ kind: "sent", wireBytes });
    else report({ kind: "sent", wireBytes, content }, [content.space]);
  }
}
