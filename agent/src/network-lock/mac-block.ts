/** Host side: nothing from these MAC addresses leaves through the parent interface, ARP included. */

export interface MacBlock {
  readonly migrationId: string;
  /** Parent interface of the macvlan network, or the bridge. */
  readonly parent: string;
  /** Lower case, colons. */
  readonly macs: readonly string[];
}

/** Idempotent. Throws DrayError NETWORK_LOCK_FAILED. */
export declare function blockMac(block: MacBlock, signal?: AbortSignal): Promise<void>;

/** Removes every block of this migration; nothing to do if there is none. */
export declare function unblockMac(migrationId: string, signal?: AbortSignal): Promise<void>;
