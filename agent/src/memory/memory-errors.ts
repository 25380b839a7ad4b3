/** What may happen to the memory of a process that runs on while it is read, and is no failure. */

/** The process has ended, or has it mapped no more. */
export function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ESRCH";
}

/** The page went after it was looked for, or nobody may read it: a guard page, memory of a device. */
export function isUnreadable(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "EIO" || code === "EFAULT" || code === "ESRCH";
}
