/**
 * What is read of something that may go at any time, below /proc above all, or
 * undefined if it has gone: the process has ended or has
 * closed the file: whoever looks at running processes must expect that.
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
