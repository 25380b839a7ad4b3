/** Connections that were opened since preflight, which could only say that there were none. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import {
  ALLOW_CONNECTION_LOSS,
  connectionsBehindBridge,
  establishedConnections,
} from "../preflight/bridge-connections.ts";

/**
 * To be asked when the container stands still and nothing reaches it any more: `bridges` are the bridge networks that it
 * is on. PREFLIGHT, with the words of preflight, if a connection would be lost.
 */
export async function demandNoLostConnections(pid: number, bridges: readonly string[], node: string): Promise<void> {
  const [words] = connectionsBehindBridge(bridges, await establishedConnections(pid));
  if (words === undefined) return;
  throw new DrayError("PREFLIGHT", `since preflight connections were opened: ${words.message}`, {
    node,
    remedy: `${words.remedy} Or accept it with ${ALLOW_CONNECTION_LOSS}.`,
  });
}
