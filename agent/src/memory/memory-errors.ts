/** What may happen to the memory of a process that runs on while it is read, and is no failure. */

/** The process has ended, or has it mapped no more. */
export function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ESRCH";
}
