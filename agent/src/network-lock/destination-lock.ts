/** Taking away what the network hook has put into a restored container's network namespace. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { runInNetworkNamespace } from "../host/netns.ts";
import { PLACEHOLDER } from "./destination-files.ts";
import { removeTables } from "./rulesets.ts";

const LIMIT_MS = 5000;

/** Repeatable. Throws DrayError NETWORK_LOCK_FAILED. */
export async function liftDestinationLock(pid: number, migrationId: string): Promise<void> {
  try {
    // Placeholder first: once the rules are gone the container's own interface alone holds the address.
    const deleted = await runInNetworkNamespace(pid, ["ip", "link", "delete", PLACEHOLDER], {
      deadlineMs: LIMIT_MS,
      okCodes: [0, 1],
    });
    if (deleted.code === 1 && !/Cannot find device/.test(deleted.stderr)) {
      throw new DrayError("NETWORK_LOCK_FAILED", `cannot remove the placeholder: ${deleted.stderr.trim()}`);
    }
    await runInNetworkNamespace(pid, ["nft", "-f", "-"], { deadlineMs: LIMIT_MS, stdin: removeTables(migrationId) });
  } catch (cause) {
    if (cause instanceof DrayError && cause.reason === "NETWORK_LOCK_FAILED") throw cause;
    throw new DrayError("NETWORK_LOCK_FAILED", `the network lock of process ${pid} could not be lifted`, { cause });
  }
}
