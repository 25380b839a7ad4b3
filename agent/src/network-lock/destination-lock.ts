/** Taking away what the network hook has put into a restored container's network namespace. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { runInNetworkNamespace } from "../host/netns.ts";
import { PLACEHOLDER } from "./destination-files.ts";
import { PreparedRules } from "./prepared-rules.ts";
import { removeTables } from "./rulesets.ts";

const LIMIT_MS = 5000;

/** Repeatable. Throws DrayError NETWORK_LOCK_FAILED. */
export async function liftDestinationLock(pid: number, migrationId: string): Promise<void> {
  await guarded(pid, async () => {
    await deletePlaceholder(pid);
    await runInNetworkNamespace(pid, ["nft", "-f", "-"], { deadlineMs: LIMIT_MS, stdin: removeTables(migrationId) });
  });
}

/**
 * The same in two steps. The placeholder goes now, behind the drop rules: the
 * container's own interface, which Docker has attached, alone holds the address
 * from here on. The rules go when the result is applied.
 */
export async function prepareLiftingDestinationLock(pid: number, migrationId: string): Promise<PreparedRules> {
  const rules = await PreparedRules.inNamespaceOf(pid, removeTables(migrationId));
  try {
    await guarded(pid, () => deletePlaceholder(pid));
    return rules;
  } catch (error) {
    rules.discard();
    throw error;
  }
}

async function deletePlaceholder(pid: number): Promise<void> {
  const deleted = await runInNetworkNamespace(pid, ["ip", "link", "delete", PLACEHOLDER], {
    deadlineMs: LIMIT_MS,
    okCodes: [0, 1],
  });
  if (deleted.code === 1 && !/Cannot find device/.test(deleted.stderr)) {
    throw new DrayError("NETWORK_LOCK_FAILED", `cannot remove the placeholder: ${deleted.stderr.trim()}`);
  }
}

async function guarded(pid: number, body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (cause) {
    if (cause instanceof DrayError && cause.reason === "NETWORK_LOCK_FAILED") throw cause;
    throw new DrayError("NETWORK_LOCK_FAILED", `the network lock of process ${pid} could not be lifted`, { cause });
  }
}
