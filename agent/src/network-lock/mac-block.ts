/** Host side: nothing from these MAC addresses leaves through the parent interface, ARP included. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { runCommand } from "../host/run-command.ts";
import { macBlockRules, tableName } from "./rulesets.ts";

export interface MacBlock {
  readonly migrationId: string;
  /** Parent interface of the macvlan network, or the bridge. */
  readonly parent: string;
  /** Lower case, colons. */
  readonly macs: readonly string[];
}

const LIMIT_MS = 5000;

/** Idempotent. Throws DrayError NETWORK_LOCK_FAILED. */
export async function blockMac(block: MacBlock, signal?: AbortSignal): Promise<void> {
  if (block.macs.length === 0) return;
  await nft(["-f", "-"], { stdin: macBlockRules(block.migrationId, block.parent, block.macs), signal });
}

/** Removes every block of this migration; nothing to do if there is none. */
export async function unblockMac(migrationId: string, signal?: AbortSignal): Promise<void> {
  const prefix = tableName(migrationId);
  const tables = parseTables(await nft(["list", "tables", "netdev"], { signal }));
  const ours = tables.filter((table) => table === prefix || table.startsWith(`${prefix}_`));
  if (ours.length === 0) return;
  // Naming a table makes it: one that another process removes meanwhile is no error.
  await nft(["-f", "-"], {
    stdin: ours.map((table) => `table netdev ${table}\ndelete table netdev ${table}\n`).join(""),
    signal,
  });
}

/** Pure: names from `nft list tables netdev`. */
export function parseTables(text: string): string[] {
  return [...text.matchAll(/^table netdev (\S+)/gm)].map((found) => found[1] ?? "");
}

async function nft(args: readonly string[], options: { stdin?: string; signal: AbortSignal | undefined }): Promise<string> {
  try {
    return (await runCommand(["nft", ...args], { ...options, deadlineMs: LIMIT_MS })).stdout;
  } catch (cause) {
    if (!(cause instanceof DrayError) || cause.reason !== "COMMAND_FAILED") throw cause;
    throw new DrayError("NETWORK_LOCK_FAILED", `nft refused the filter of a MAC address: ${cause.message}`, {
      remedy: "The kernel needs the egress hook of nftables (CONFIG_NETFILTER_EGRESS, Linux 5.16 or newer).",
      cause,
    });
  }
}
