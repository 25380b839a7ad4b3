/** Asks a page server, over a connection of the same kind as a transfer's, whether a transfer would come about. */
import { connect } from "node:tls";
import { splitAddress } from "../config/address.ts";
import { DrayError } from "../errors/dray-error.ts";
import { type Identity, tlsClientOptions } from "../identity/identity.ts";
import { FramedSocket } from "./framed-socket.ts";
import { decodeMessage, errorOf, PROTOCOL_VERSIONS } from "./messages.ts";
import { CONNECT_DEADLINE_MS } from "./transfer-client.ts";

export interface InquiryTarget {
  readonly identity: Identity;
  /** "host:port". */
  readonly address: string;
  /** Name of the agent that must answer. */
  readonly peerName: string;
  /** From the SYN to the answer. Default: a transfer's. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Resolves with the version that the two would speak. Transfers nothing and needs no token. PEER_UNAVAILABLE if nobody
 * answers, UNAUTHENTICATED, PERMISSION_DENIED or PROTOCOL_MISMATCH if either refuses the other, TIMEOUT with how far it
 * came, CANCELLED.
 */
export async function inquire(target: InquiryTarget): Promise<number> {
  const { identity, address, peerName, signal, deadlineMs = CONNECT_DEADLINE_MS } = target;
  const answer = Promise.withResolvers<number>();
  let missing = "no TCP connection";
  const { host, port } = splitAddress(address);
  const tls = connect({ ...tlsClientOptions(identity, { role: "agent", name: peerName }), host, port });
  const socket = new FramedSocket(tls, {
    silenceLimitMs: 2 * deadlineMs,
    peerName: `${peerName} (${address})`,
    onFrame: (frame) => {
      if (frame.type === "refusal") throw errorOf(decodeMessage("refusal", frame));
      if (frame.type === "error") throw errorOf(decodeMessage("error", frame));
      answer.resolve(decodeMessage("offer", frame).version);
    },
    onEnd: (error) => answer.reject(error ?? new DrayError("PEER_UNAVAILABLE", `${peerName} hung up`)),
  });
  tls.once("connect", () => {
    missing = "a TCP connection, but no end of the TLS handshake";
  });
  tls.once("secureConnect", () => {
    missing = "a TLS connection, but no answer";
    socket.send("inquiry", 0, { versions: [...PROTOCOL_VERSIONS] });
  });
  const deadline = setTimeout(
    () => socket.end(new DrayError("TIMEOUT", `${missing} within ${deadlineMs} ms`)),
    deadlineMs,
  );
  const onAbort = () => socket.end(new DrayError("CANCELLED", "the inquiry was cancelled"));
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted) onAbort();
  try {
    return await answer.promise;
  } finally {
    clearTimeout(deadline);
    signal?.removeEventListener("abort", onAbort);
    await socket.goodbye();
  }
}
