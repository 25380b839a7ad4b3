/**
 * Connections of a container on a bridge network: a move breaks them, since such a network and its addresses are each
 * host's own. Preflight looks for them, and the switch again, as they come and go meanwhile.
 */
import { tcpTables } from "../host/tcp-tables.ts";
import { when } from "./check.ts";
import type { Words } from "./finding.ts";
import { countEstablished } from "./socket-tables.ts";

/** The flag of `dray migrate` that accepts their loss. */
export const ALLOW_CONNECTION_LOSS = "--allow-connection-loss";

/** TCP connections that leave the container of this process. Throws ENOENT if it is gone. */
export async function establishedConnections(pid: number): Promise<number> {
  return (await tcpTables(pid)).reduce((total, table) => total + countEstablished(table), 0);
}

/** What would be lost, by the names of the bridge networks that the container is on. Pure. */
export function connectionsBehindBridge(bridges: readonly string[], established: number): readonly Words[] {
  return when(
    bridges.length > 0 && established > 0,
    `The container has ${established} open connection${established === 1 ? "" : "s"} and is on the bridge network ${bridges.join(", ")}, whose addresses belong to this host: connections would be lost.`,
    "Use a macvlan network for connections that live on.",
  );
}
