/**
 * The results of all, or the first failure, which ends the others through
 * `ending`. Either way nothing of it is under way any more: a late refreeze or
 * a late rule would undo what the way back has done.
 */
export async function allSettled<T extends readonly unknown[]>(
  running: { readonly [K in keyof T]: Promise<T[K]> },
  ending: AbortController,
): Promise<T> {
  try {
    return (await Promise.all(running)) as unknown as T;
  } catch (cause) {
    ending.abort(cause);
    await Promise.allSettled(running);
    throw cause;
  }
}
