/**
 * What the network hook applies in a new network namespace before sockets
 * are restored: drop rules, and a placeholder interface that holds the
 * container's addresses until Docker attaches the network.
 */

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

/** Pure. Throws DrayError BAD_REQUEST on something that is no address. */
export declare function destinationFiles(migrationId: string, endpoints: readonly EndpointAddress[]): DestinationFiles;
