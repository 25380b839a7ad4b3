/** Waits until another process has made a file. */
import { watch } from "node:fs";
import { access } from "node:fs/promises";
import { dirname } from "node:path";
import { unlessGone } from "./unless-gone.ts";

/** Its directory exists. Rejects with the signal's reason. */
export async function waitForFile(path: string, signal: AbortSignal): Promise<void> {
  const changed = Promise.withResolvers<void>();
  const isThere = async () => (await unlessGone(access(path).then(() => true))) === true;
  const look = () => {
    isThere().then((there) => {
      if (there) changed.resolve();
    }, changed.reject);
  };
  const onAbort = () => changed.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  const watcher = watch(dirname(path), look);
  watcher.on("error", changed.reject);
  try {
    signal.throwIfAborted();
    // Watched first, then looked: nothing falls between.
    look();
    await changed.promise;
  } finally {
    watcher.close();
    signal.removeEventListener("abort", onAbort);
  }
}
