/** Host side: nothing from these MAC addresses leaves through the parent interface, ARP included. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { type CommandOptions, runCommand } from "../host/run-command.ts";
import { PreparedRules } from "./prepared-rules.ts";
import { macBlockRules, macSink, removeMacBlockRules } from "./rulesets.ts";

export interface MacBlock {
  readonly migrationId: string;
  /** Parent interface of the macvlan network, or the bridge. */
  readonly parent: string;
  /** Lower case, colons. */
  readonly macs: readonly string[];
}

const LIMIT_MS = 5000;

/** Repeatable; several parents of a migration stand side by side. Throws DrayError NETWORK_LOCK_FAILED. */
export async function blockMac(block: MacBlock, signal?: AbortSignal): Promise<void> {
  if (block.macs.length === 0) return;
  const rules = macBlockRules(block.migrationId, block.parent, block.macs);
  await addSink(block.migrationId, signal);
  await run(["nft", "-f", "-"], { stdin: rules, signal });
}

/** The same for several parents, ready to be applied at once; the sink is there already. */
export async function prepareMacBlocks(blocks: readonly MacBlock[], signal?: AbortSignal): Promise<PreparedRules> {
  const wanted = blocks.filter(({ macs }) => macs.length > 0);
  for (const migrationId of new Set(wanted.map((block) => block.migrationId))) await addSink(migrationId, signal);
  return PreparedRules.onHost(
    wanted.map((block) => macBlockRules(block.migrationId, block.parent, block.macs)).join(""),
  );
}

/** Removing a migration's blocks, ready to be done at once. The sink stays; `unblockMac` afterwards removes it, too. */
export function prepareUnblockMac(migrationId: string): PreparedRules {
  return PreparedRules.onHost(removeMacBlockRules(migrationId));
}

/** Removes every block of this migration at once; nothing to do if there is none. */
export async function unblockMac(migrationId: string, signal?: AbortSignal): Promise<void> {
  await run(["nft", "-f", "-"], { stdin: removeMacBlockRules(migrationId), signal });
  await ipUnless(/Cannot find device/, ["link", "delete", macSink(migrationId).name], signal);
}

async function addSink(migrationId: string, signal: AbortSignal | undefined): Promise<void> {
  const { name, peer } = macSink(migrationId);
  await ipUnless(/File exists/, ["link", "add", name, "type", "veth", "peer", "name", peer], signal);
}

/** Runs ip; an error of this text means that all is as it should be. */
async function ipUnless(done: RegExp, args: readonly string[], signal: AbortSignal | undefined): Promise<void> {
  const { code, stderr } = await run(["ip", ...args], { signal, okCodes: [0, 1, 2] });
  if (code !== 0 && !done.test(stderr)) {
    throw new DrayError("NETWORK_LOCK_FAILED", `ip ${args.join(" ")} ended with ${code}: ${stderr.trim()}`);
  }
}

async function run(argv: readonly string[], options: CommandOptions) {
  try {
    return await runCommand(argv, { ...options, deadlineMs: LIMIT_MS });
  } catch (cause) {
    if (!(cause instanceof DrayError) || cause.reason !== "COMMAND_FAILED") throw cause;
    throw new DrayError("NETWORK_LOCK_FAILED", `the filter of a MAC address was refused: ${cause.message}`, {
      remedy:
        "The kernel needs nftables with egress hook and fwd (CONFIG_NETFILTER_EGRESS, CONFIG_NFT_FWD_NETDEV; Linux 5.16).",
      cause,
    });
  }
}
