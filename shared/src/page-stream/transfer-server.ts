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
 * to, and that agent was to send this migration anyway. A lane shows, on the port of its thread, the secret that the
 * Welcome of its connection had, and a certificate for the same agent; it ends with that connection. A receipt can be lost with the connection, so after a
 * reconnection a file may come again: `receive` must take it as a replacement.
 */
import type { TLSSocket } from "node:tls";
import { DrayError } from "../errors/dray-error.ts";
import { FramedSocket } from "./framed-socket.ts";
import { IncomingConnection } from "./incoming-connection.ts";
import { IncomingLanes } from "./lanes/incoming-lanes.ts";
import { refuseLane } from "./lanes/lane-threads.ts";
import { chooseVersion, decodeMessage, failureOf, type Message, PROTOCOL_VERSIONS, WINDOW_BYTES } from "./messages.ts";
import { splitAddress } from "../config/address.ts";
import { agentBehind, CONNECTION_LIMIT, HANDSHAKE_DEADLINE_MS, openPageDoor, unexpected } from "./page-door.ts";
import { sameToken } from "./token.ts";
import type { Authorisation, TransferGrant, TransferServer, TransferServerOptions } from "./transfer-types.ts";

export { createTransferToken } from "./token.ts";
export type * from "./transfer-types.ts";

interface LiveConnection {
  readonly socket: FramedSocket;
  readonly connection: IncomingConnection;
  /** Undefined if none are offered. */
  readonly lanes: IncomingLanes | undefined;
}

interface Grant {
  readonly terms: TransferGrant;
  receivedBytes: number;
  live: LiveConnection | undefined;
  /** Connections that have ended while a `receive` of theirs was still at work. */
  readonly settling: Set<Promise<void>>;
}

/** Listens; BAD_CONFIG if the address cannot be had. */
export async function startTransferServer(options: TransferServerOptions): Promise<TransferServer> {
  const handshakeDeadlineMs = options.handshakeDeadlineMs ?? HANDSHAKE_DEADLINE_MS;
  const silenceLimitMs = options.silenceLimitMs ?? 10_000;
  const report = options.onIncident ?? (() => undefined);
  const grants = new Set<Grant>();
  const greeting = new Set<FramedSocket>();

  function greet(socket: TLSSocket): void {
    const address = `${socket.remoteAddress}:${socket.remotePort}`;
    let grant: Grant | undefined;
    let live: LiveConnection | undefined;
    const framed = new FramedSocket(socket, {
      silenceLimitMs,
      peerName: address,
      onFrame: (frame) => {
        if (live !== undefined) return live.connection.onFrame(frame);
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
        live = admit(framed, grant, hello, refusal.version);
      },
      onEnd: (error) => {
        clearTimeout(deadline);
        greeting.delete(framed);
        live?.lanes?.end();
        live?.connection.onEnd(error);
        if (grant !== undefined && live !== undefined) retire(grant, live);
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

  function admit(framed: FramedSocket, grant: Grant, hello: Message<"hello">, version: number): LiveConnection {
    greeting.delete(framed);
    const agreedSilenceMs = Math.min(silenceLimitMs, hello.silenceLimitMs);
    const ports = (options.lanes?.ports ?? []).slice(0, hello.lanes);
    const lanes =
      ports.length === 0
        ? undefined
        : new IncomingLanes({
            ports,
            silenceLimitMs: agreedSilenceMs,
            onFrame: (frame) => connection.onLaneFrame(frame),
            onLost: (error) => framed.endWith("error", failureOf(error), error),
          });
    const connection = new IncomingConnection(framed, grant.terms, {
      onBytes: (bytes) => {
        grant.receivedBytes += bytes;
      },
      laneRecycler: lanes ?? framed.pool,
    });
    grant.live?.socket.end(new DrayError("PEER_UNAVAILABLE", "the sender has connected anew"));
    const live = { socket: framed, connection, lanes };
    grant.live = live;
    framed.setSilenceLimit(agreedSilenceMs);
    framed.send("welcome", 0, {
      version,
      windowBytes: WINDOW_BYTES,
      silenceLimitMs,
      lanes: { ports: [...ports], secret: lanes?.secret ?? "" },
    });
    return live;
  }

  function retire(grant: Grant, live: LiveConnection): void {
    if (grant.live === live) grant.live = undefined;
    const settling = live.connection.settled().finally(() => grant.settling.delete(settling));
    grant.settling.add(settling);
  }

  async function revoke(grant: Grant): Promise<void> {
    grants.delete(grant);
    grant.live?.socket.end(new DrayError("CANCELLED", "the transfer was revoked by the receiver"));
    await Promise.all(grant.settling);
  }

  const { host, port } = splitAddress(options.address);
  const door = await openPageDoor({
    identity: options.identity,
    host,
    port,
    connectionLimit: options.connectionLimit ?? CONNECTION_LIMIT,
    handshakeDeadlineMs,
    onIncident: report,
    onConnection: greet,
  });
  options.lanes?.setArrivalJudge((arrival) => {
    const { peerName } = arrival;
    const isAdmitted = [...grants].some(
      ({ terms, live }) => terms.peerName === peerName && live?.lanes?.admit(arrival) === true,
    );
    if (!isAdmitted) refuseLane(arrival);
  });

  return {
    port: door.port,
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
      const closed = door.close();
      await Promise.all([...grants].map(revoke));
      for (const framed of greeting) framed.end(new DrayError("CANCELLED", "the page server is closing"));
      await closed;
    },
  };
}

function commonVersion(offered: readonly number[]): number | DrayError {
  const version = chooseVersion(offered);
  if (version !== undefined) return version;
  const spoken = `${PROTOCOL_VERSIONS.join(", ")} here, ${offered.join(", ")} there`;
  return new DrayError("PROTOCOL_MISMATCH", `page stream: no common version: ${spoken}`);
}
