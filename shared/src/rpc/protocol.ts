/** What both ends of an RPC agree on beyond the contracts in proto/. */
import { DrayError } from "../errors/dray-error.ts";

/** Versions of the protocol that this software speaks. */
export const PROTOCOL_VERSIONS: readonly number[] = [1];

/** Metadata of every call after the handshake: the version in use. */
export const PROTOCOL_METADATA = "drayage-protocol";
/** Metadata of a failed call: the parts of its DrayError. */
export const REASON_METADATA = "drayage-reason";
export const REMEDY_METADATA = "drayage-remedy";
export const NODE_METADATA = "drayage-node";
/** A message Findings. */
export const FINDINGS_METADATA = "drayage-findings-bin";

/** The highest version that both speak. PROTOCOL_MISMATCH if there is none. */
export function chooseVersion(ours: readonly number[], theirs: readonly number[]): number {
  const common = ours.filter((version) => theirs.includes(version));
  if (common.length === 0) {
    throw new DrayError(
      "PROTOCOL_MISMATCH",
      `no protocol version in common: one side speaks ${list(ours)}, the other ${list(theirs)}`,
    );
  }
  return Math.max(...common);
}

function list(versions: readonly number[]): string {
  return versions.length === 0 ? "none" : versions.join(", ");
}
