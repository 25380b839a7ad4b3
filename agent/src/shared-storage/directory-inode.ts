/** What identifies a directory of shared storage on every host. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { runCommand } from "../host/run-command.ts";
import { isSharedStorage, type Storage } from "./storage.ts";

const LIMIT_MS = 10_000;

/** The same with the directory's number, if it is shared: a server that does not answer must not hang the agent. */
export async function withInode(storage: Storage, directory: string, signal?: AbortSignal): Promise<Storage> {
  if (!isSharedStorage(storage)) return storage;
  try {
    const { stdout } = await runCommand(["stat", "--format=%i", "--", directory], { deadlineMs: LIMIT_MS, signal });
    return { ...storage, inode: stdout.trim() };
  } catch (thrown) {
    // It is not there: the destination may have the export, but not the directory.
    if (thrown instanceof DrayError && thrown.reason === "COMMAND_FAILED") return storage;
    throw thrown;
  }
}
