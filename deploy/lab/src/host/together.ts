/** Several things at once, as one: the first failure aborts the others, and none is left behind. */

export async function together(
  signal: AbortSignal | undefined,
  tasks: readonly ((signal: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const controller = new AbortController();
  const combined = signal === undefined ? controller.signal : AbortSignal.any([signal, controller.signal]);
  let failed = false;
  let first: unknown;
  await Promise.all(
    tasks.map(async (task) => {
      try {
        await task(combined);
      } catch (error) {
        if (!failed) first = error;
        failed = true;
        controller.abort();
      }
    }),
  );
  signal?.throwIfAborted();
  if (failed) throw first;
}
