/**
 * Receiving end of transfers: one listening socket per agent, shut to everyone who was not announced.
 *
 * Whoever connects must show a certificate of the cluster (TLS), with the role agent, and then, in its Hello, a
 * migration id and token that were authorised for exactly that agent name. Anything else gets the same refusal,
 * whatever was wrong, and the connection is closed. An inquiry, for which any agent's certificate will do, is told the
 * version that would be spoken and gets no further.
 *
 * A token is good until it is revoked, for one connection at a time: after a lost connection the same agent may come
 * back with it, and a new connection ends the old one, which is then a dead one that has not been noticed. That is
 * safe because the token is no secret by itself: it opens nothing without the private key of the one agent it is bound
 * to, and that agent was to send this migration anyway. A receipt can be lost with the connection, so after a
 * reconnection a file may come again: `receive` must take it as a replacement.
 */
import type { TLSSocket } from "node:tls";
import { createServer } from "node:tls";
import { DrayError, toDrayError } from "../errors/dray-error.ts";
import { type Peer, peerOf, tlsServerOptions } from "../identity/identity.ts";
import { FramedSocket } from "./framed-socket.ts";
import { IncomingConnection } from "./incoming-connection.ts";
import { chooseVersion, decodeMessage, failureOf, type Message, PROTOCOL_VERSIONS, WINDOW_BYTES } from "./messages.ts";
import { splitAddress } from "../config/address.ts";
import { sameToken } from "./token.ts";
import type { Authorisation, TransferGrant, TransferServer, TransferServerOptions } from "./transfer-types.ts";

export { createTransferToken } from "./token.ts";
export type * from "./transfer-types.ts";

interface Grant {
  readonly terms: TransferGrant;
  receivedBytes: number;
  live: { readonly socket: FramedSocket; readonly connection: IncomingConnection } | undefined;
  /** Connections that have ended while a `receive` of theirs was still at work. */
  readonly settling: Set<Promise<void>>;
}

/** Listens; BAD_CONFIG if the address cannot be had. */
export async function startTransferServer(options: TransferServerOptions): Promise<TransferServer> {
  const handshakeDeadlineMs = options.handshakeDeadlineMs ?? 5000;
  const silenceLimitMs = options.silenceLimitMs ?? 10_000;
  const report = options.onIncident ?? (() => undefined);
  const grants = new Set<Grant>();
  const greeting = new Set<FramedSocket>();

  const server = createServer({ ...tlsServerOptions(options.identity), handshakeTimeout: handshakeDeadlineMs });
  server.maxConnections = options.connectionLimit ?? 64;
  server.on("drop", (peer) => report("page connection refused: too many", { address: peer?.remoteAddress }));
  server.on("tlsClientError", (error, socket) => {
    report("page connection refused: no valid certificate", { address: socket.remoteAddress, error: error.message });
    socket.destroy();
  });
  server.on("secureConnection", (socket) => greet(socket));

  function greet(socket: TLSSocket): void {
    const address = `${socket.remoteAddress}:${socket.remotePort}`;
    let grant: Grant | undefined;
    let connection: IncomingConnection | undefined;
    const framed = new FramedSocket(socket, {
      silenceLimitMs,
      peerName: address,
      onFrame: (frame) => {
        if (connection !== undefined) return connection.onFrame(frame);
        // The deadline still holds: who has only asked is to go.
        if (frame.type === "inquiry") return answer(framed, socket, decodeMessage("inquiry", frame), address);
        clearTimeout(deadline);
        const hello = decodeMessage("hello", frame);
        const refusal = judge(socket, hello);
        if (refusal instanceof DrayError) {
          report("page connection refused", { address, reason: refusal.reason, message: refusal.message });
          framed.endWith("refusal", failureOf(refusal), refusal);
          return;
        }
        grant = refusal.grant;
        connection = admit(framed, grant, hello, refusal.version);
      },
      onEnd: (error) => {
        clearTimeout(deadline);
        greeting.delete(framed);
        connection?.onEnd(error);
        if (grant !== undefined && connection !== undefined) retire(grant, connection);
        // Called off here is no incident.
        if (error !== undefined && error.reason !== "CANCELLED" && grant !== undefined) {
          const { migrationId, peerName } = grant.terms;
          report("page connection lost", {
            address,
            migration_id: migrationId,
            peer: peerName,
            message: error.message,
          });
        }
      },
    });
    const deadline = setTimeout(() => {
      framed.end(new DrayError("TIMEOUT", `${address} said nothing for ${handshakeDeadlineMs} ms`));
      report("page connection refused: no Hello", { address });
    }, handshakeDeadlineMs);
    greeting.add(framed);
  }

  function answer(framed: FramedSocket, socket: TLSSocket, inquiry: Message<"inquiry">, address: string): void {
    const peer = agentBehind(socket);
    const version = peer instanceof DrayError ? peer : commonVersion(inquiry.versions);
    if (typeof version === "number") return framed.send("offer", 0, { version });
    report("page inquiry refused", { address, reason: version.reason, message: version.message });
    framed.endWith("refusal", failureOf(version), version);
  }

  function judge(socket: TLSSocket, hello: Message<"hello">): { grant: Grant; version: number } | DrayError {
    const peer = agentBehind(socket);
    if (peer instanceof DrayError) return peer;
    const grant = [...grants].find(
      ({ terms }) =>
        sameToken(hello.token, terms.token) && terms.migrationId === hello.migrationId && terms.peerName === peer.name,
    );
    if (grant === undefined) return unexpected();
    const version = commonVersion(hello.versions);
    return version instanceof DrayError ? version : { grant, version };
  }

  function admit(framed: FramedSocket, grant: Grant, hello: Message<"hello">, version: number): IncomingConnection {
    greeting.delete(framed);
    const connection = new IncomingConnection(framed, grant.terms, (bytes) => {
      grant.receivedBytes += bytes;
    });
    grant.live?.socket.end(new DrayError("PEER_UNAVAILABLE", "the sender has connected anew"));
    grant.live = { socket: framed, connection };
    framed.setSilenceLimit(Math.min(silenceLimitMs, hello.silenceLimitMs));
    framed.send("welcome", 0, { version, windowBytes: WINDOW_BYTES, silenceLimitMs });
    return connection;
  }

  function retire(grant: Grant, connection: IncomingConnection): void {
    if (grant.live?.connection === connection) grant.live = undefined;
    const settling = connection.settled().finally(() => grant.settling.delete(settling));
    grant.settling.add(settling);
  }

  async function revoke(grant: Grant): Promise<void> {
    grants.delete(grant);
    grant.live?.socket.end(new DrayError("CANCELLED", "the transfer was revoked by the receiver"));
    await Promise.all(grant.settling);
  }

  const { host, port } = splitAddress(options.address);
  await new Promise<void>((resolve, reject) => {
    const refuse = (cause: Error) =>
      reject(new DrayError("BAD_CONFIG", `cannot listen on ${options.address}: ${cause.message}`, { cause }));
    server.once("error", refuse);
    server.listen(port, host, () => {
      server.off("error", refuse);
      server.on("error", (error) => report("page server failed", { error: error.message }));
      resolve();
    });
  });
  const bound = server.address();

  return {
    port: typeof bound === "object" && bound !== null ? bound.port : port,
    authorise(terms): Authorisation {
      const grant: Grant = { terms, receivedBytes: 0, live: undefined, settling: new Set() };
      grants.add(grant);
      return {
        get receivedBytes() {
          return grant.receivedBytes;
        },
        revoke: () => revoke(grant),
      };
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await Promise.all([...grants].map(revoke));
      for (const framed of greeting) framed.end(new DrayError("CANCELLED", "the page server is closing"));
      await closed;
    },
  };
}

function agentBehind(socket: TLSSocket): Peer | DrayError {
  try {
    const peer = peerOf(socket);
    return peer.role === "agent" ? peer : unexpected();
  } catch (error) {
    return toDrayError(error);
  }
}

function unexpected(): DrayError {
  return new DrayError("PERMISSION_DENIED", "no transfer is expected from this agent with this token", {
    remedy: "The migration was ended or started anew meanwhile; see `dray migration ls`.",
  });
}

function commonVersion(offered: readonly number[]): number | DrayError {
  const version = chooseVersion(offered);
  if (version !== undefined) return version;
  const spoken = `${PROTOCOL_VERSIONS.join(", ")} here, ${offered.join(", ")} there`;
  return new DrayError("PROTOCOL_MISMATCH", `page stream: no common version: ${spoken}`);
}
