/** Sends the files of a directory while another process still writes them. */
import { type FSWatcher, watch } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { GrowingDirectory, SendOptions, SendResult, TransferConnection } from "./transfer-types.ts";

/**
 * Followed files are begun as soon as they appear, all others once the writer is done. The first failure is thrown
 * after every file that was begun has ended.
 */
export async function sendGrowingDirectory(
  connection: Pick<TransferConnection, "send" | "sendGrowingFile">,
  source: GrowingDirectory,
  options: SendOptions = {},
): Promise<{ files: number; bytes: number }> {
  const { kind, directory, done, followed, metadata = {}, leaves = () => false } = source;
  const sends = new Map<string, Promise<SendResult>>();
  const begin = (name: string, send: () => Promise<SendResult>) => {
    if (sends.has(name)) return;
    const sending = send();
    sending.catch(() => undefined);
    sends.set(name, sending);
  };
  const follow = (name: string) => {
    if (followed(name)) {
      begin(name, () => connection.sendGrowingFile({ kind, name, metadata }, join(directory, name), done, options));
    }
  };

  // It is awaited later, perhaps after it has failed; that is no unhandled rejection.
  done.catch(() => undefined);
  const watcher = watchDirectory(directory, follow);
  try {
    for (const name of await regularFiles(directory)) follow(name);
    await done;
  } catch (error) {
    await Promise.allSettled(sends.values());
    throw error;
  } finally {
    watcher?.close();
  }
  for (const name of await regularFiles(directory)) {
    if (sends.has(name) || leaves(name)) continue;
    begin(name, () => connection.send({ kind, name, metadata }, { path: join(directory, name) }, options));
  }
  const results = await Promise.allSettled(sends.values());
  let bytes = 0;
  for (const result of results) {
    if (result.status === "rejected") throw result.reason;
    bytes += result.value.bytes;
  }
  return { files: results.length, bytes };
}

/** undefined if the kernel grants no watch; then everything is sent when the writer is done. */
function watchDirectory(directory: string, onName: (name: string) => void): FSWatcher | undefined {
  try {
    const watcher = watch(directory, (_event, name) => {
      if (name !== null) onName(name);
    });
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EMFILE" || code === "ENOSPC" || code === "ENFILE") return undefined;
    throw error;
  }
}

async function regularFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
}
