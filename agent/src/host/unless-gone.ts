/**
 * What is read of something that may go at any time; undefined if it has gone.
 * Whoever looks below /proc must expect that: a process ends, or closes a file.
 */
export async function unlessGone<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    // The second is what a descriptor says that was open when its process ended.
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw thrown;
  }
}
