/** A client that has lost its server and tries again and again until somebody answers. */
import { connect, type Socket } from "node:net";
import type { Endpoint } from "../../../deploy/held-client/line-connection.ts";

/** A new attempt so often: the moment is known to about this. */
const EVERY_MS = 4;
/** An attempt is given up after so long: TCP's own retry comes after a second, which would be measured instead. */
const PATIENCE_MS = 60;

/** Resolves with the moment (performance.now) of the first reply to a PING. Throws what the signal says. */
export async function firstReply(endpoint: Endpoint, signal: AbortSignal): Promise<number> {
  const answered = Promise.withResolvers<number>();
  const open = new Set<Socket>();
  const attempt = () => {
    const socket = connect({ ...endpoint, noDelay: true });
    open.add(socket);
    const patience = setTimeout(() => socket.destroy(), PATIENCE_MS);
    // Refused and unreachable mean "not yet".
    socket.on("error", () => undefined);
    socket.once("connect", () => socket.write("PING\r\n"));
    socket.once("data", () => answered.resolve(performance.now()));
    socket.once("close", () => {
      clearTimeout(patience);
      open.delete(socket);
    });
  };
  const onAbort = () => answered.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  const timer = setInterval(attempt, EVERY_MS);
  try {
    signal.throwIfAborted();
    return await answered.promise;
  } finally {
    clearInterval(timer);
    signal.removeEventListener("abort", onAbort);
    for (const socket of open) socket.destroy();
  }
}
