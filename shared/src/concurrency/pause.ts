/** Back-off between attempts at something that cannot be awaited. */

/** Rejects with the signal's reason when it fires, or has fired. */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Returns early when the signal fires: for callers that look at it themselves. */
export async function pauseAtMost(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await pause(ms, signal).catch(() => undefined);
}
