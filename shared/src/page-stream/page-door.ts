/** Where agents listen for each other's page connections: who gets in, and the one answer to all who do not. */
import { createServer, type TLSSocket } from "node:tls";
import { joinAddress } from "../config/address.ts";
import { DrayError, toDrayError } from "../errors/dray-error.ts";
import { type Identity, type Peer, peerOf, tlsServerOptions } from "../identity/identity.ts";

export const HANDSHAKE_DEADLINE_MS = 5000;
/** Connections at one time, those in their handshake included. */
export const CONNECTION_LIMIT = 64;

export interface PageDoorOptions {
  readonly identity: Identity;
  readonly host: string;
  /** 0 for any. */
  readonly port: number;
  readonly connectionLimit: number;
  readonly handshakeDeadlineMs: number;
  /** Told of those who did not get in. */
  readonly onIncident: (message: string, details: Record<string, unknown>) => void;
  /** Somebody with a certificate of the cluster's, of whatever role. */
  readonly onConnection: (socket: TLSSocket) => void;
}

export interface PageDoor {
  readonly port: number;
  /** Resolves when all connections have ended, too. */
  close(): Promise<void>;
}

/** Listens; BAD_CONFIG if the address cannot be had. */
export async function openPageDoor(options: PageDoorOptions): Promise<PageDoor> {
  const { identity, host, port, connectionLimit, handshakeDeadlineMs, onIncident, onConnection } = options;
  const server = createServer({ ...tlsServerOptions(identity), handshakeTimeout: handshakeDeadlineMs });
  server.maxConnections = connectionLimit;
  server.on("drop", (peer) => onIncident("page connection refused: too many", { address: peer?.remoteAddress }));
  server.on("tlsClientError", (error, socket) => {
    const address = socket.remoteAddress;
    onIncident("page connection refused: no valid certificate", { address, error: error.message });
    socket.destroy();
  });
  server.on("secureConnection", onConnection);
  await new Promise<void>((resolve, reject) => {
    const address = joinAddress(host, port);
    const refuse = (cause: Error) =>
      reject(new DrayError("BAD_CONFIG", `cannot listen on ${address}: ${cause.message}`, { cause }));
    server.once("error", refuse);
    server.listen(port, host, () => {
      server.off("error", refuse);
      server.on("error", (error) => onIncident("page server failed", { error: error.message }));
      resolve();
    });
  });
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : port,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** Who has connected, or why it may not be here. */
export function agentBehind(socket: TLSSocket): Peer | DrayError {
  try {
    const peer = peerOf(socket);
    return peer.role === "agent" ? peer : unexpected();
  } catch (error) {
    return toDrayError(error);
  }
}

/** The same, whatever was wrong. */
export function unexpected(): DrayError {
  return new DrayError("PERMISSION_DENIED", "no transfer is expected from this agent with this token", {
    remedy: "The migration was ended or started anew meanwhile; see `dray migration ls`.",
  });
}
