/**
 * What the network hook applies in a new network namespace before sockets
 * are restored: drop rules, and a placeholder interface that holds the
 * container's addresses until Docker attaches the network. Pure.
 */
import { isIPv4, isIPv6 } from "node:net";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { dropButAdvertisementsRules } from "./rulesets.ts";

export interface EndpointAddress {
  /** Name of the Docker network, for messages. */
  readonly network: string;
  /** Without prefix length; empty if the endpoint has none. */
  readonly ipv4: string;
  readonly ipv6: string;
}

export interface DestinationFiles {
  /** For `nft -f`. */
  readonly nft: string;
  /** For `ip -batch`. */
  readonly ipBatch: string;
}

/** One end of a veth pair: the dummy type is not on every kernel. */
export const PLACEHOLDER = "drayage0";
const PLACEHOLDER_PEER = "drayage1";
/** Worse than any route that Docker makes. */
const ROUTE_METRIC = 65000;

/** Throws DrayError BAD_REQUEST on something that is no address. */
export function destinationFiles(migrationId: string, endpoints: readonly EndpointAddress[]): DestinationFiles {
  const ipv4 = endpoints.filter(({ ipv4 }) => ipv4 !== "");
  const ipv6 = endpoints.filter(({ ipv6 }) => ipv6 !== "");
  for (const { network, ipv4: address } of ipv4) if (!isIPv4(address)) throw bad(network, address);
  for (const { network, ipv6: address } of ipv6) if (!isIPv6(address)) throw bad(network, address);
  const lines = [
    `link add ${PLACEHOLDER} type veth peer name ${PLACEHOLDER_PEER}`,
    ...ipv4.map(({ ipv4: address }) => `address add ${address}/32 dev ${PLACEHOLDER}`),
    // Without duplicate detection: the address must serve at once. Without a route to it in the main table, which
    // IPv4 does not make either: Docker refuses an address that a route there covers.
    ...ipv6.map(({ ipv6: address }) => `address add ${address}/128 dev ${PLACEHOLDER} nodad noprefixroute`),
    `link set ${PLACEHOLDER_PEER} up`,
    `link set ${PLACEHOLDER} up`,
    ...(ipv4.length > 0 ? [`route add default dev ${PLACEHOLDER} metric ${ROUTE_METRIC}`] : []),
    ...(ipv6.length > 0 ? [`route add ::/0 dev ${PLACEHOLDER} metric ${ROUTE_METRIC}`] : []),
  ];
  return { nft: dropButAdvertisementsRules(migrationId), ipBatch: `${lines.join("\n")}\n` };
}

function bad(network: string, address: string): DrayError {
  return new DrayError("BAD_REQUEST", `${JSON.stringify(address)} on network ${network} is no address`);
}
