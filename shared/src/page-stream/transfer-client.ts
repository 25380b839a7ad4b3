/** Sending end of a transfer. */
import { DrayError } from "../errors/dray-error.ts";
import type { TransferConnection, TransferTarget } from "./transfer-types.ts";

export type * from "./transfer-types.ts";

/**
 * Connects to a transfer server and shows the token. PEER_UNAVAILABLE if no address answers, BAD_TOKEN or
 * PROTOCOL_MISMATCH if the server refuses, TIMEOUT if the deadline passes.
 */
export async function connectTransfer(target: TransferTarget): Promise<TransferConnection> {
  throw new DrayError("PEER_UNAVAILABLE", `no connection to ${target.peerName}`);
}
