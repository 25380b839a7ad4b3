/**
 * One command at a time on one thing. The lock is an abstract UNIX socket: the
 * kernel gives it up with the process, so that no crash leaves a stale one.
 */
import { createHash } from "node:crypto";
import { connect, createServer, type Socket } from "node:net";
import { hasCode, LabError } from "../errors.ts";

/** What a name stands for may be a path of any length, and a socket's name has 107 bytes. */
function socketOf(name: string): string {
  const short = Buffer.byteLength(name) <= 64 ? name : createHash("sha256").update(name).digest("hex");
  return `\0drayage-lab/${short}`;
}

/** Holds the lock until disposed; undefined when another process has it. */
export async function tryLock(name: string): Promise<AsyncDisposable | undefined> {
  const waiting = new Set<Socket>();
  const server = createServer((socket) => {
    waiting.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => waiting.delete(socket));
  });
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(socketOf(name), resolve);
    });
  } catch (error) {
    if (hasCode(error, "EADDRINUSE")) return undefined;
    throw error;
  }
  server.unref();
  const release = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      // Those who wait learn of the release by the end of their connections.
      for (const socket of waiting) socket.destroy();
    });
  return { [Symbol.asyncDispose]: release };
}

/** Holds the lock, or refuses with a sentence. */
export async function lockOrRefuse(name: string, busy: string): Promise<AsyncDisposable> {
  const lock = await tryLock(name);
  if (lock === undefined) throw new LabError("unavailable", busy, { remedy: "wait for it, or interrupt it" });
  return lock;
}

/** Waits for the lock; the holder's end is seen as the end of a connection to it. */
export async function lockOrWait(name: string, signal?: AbortSignal, onWait?: () => void): Promise<AsyncDisposable> {
  let told = false;
  for (;;) {
    signal?.throwIfAborted();
    const lock = await tryLock(name);
    if (lock !== undefined) return lock;
    if (!told) onWait?.();
    told = true;
    await holderGone(name, signal);
  }
}

async function holderGone(name: string, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve) => {
    const socket = connect(socketOf(name));
    const stop = () => socket.destroy();
    signal?.addEventListener("abort", stop, { once: true });
    socket.on("error", stop);
    socket.on("end", stop);
    socket.on("close", () => {
      signal?.removeEventListener("abort", stop);
      resolve();
    });
  });
}
