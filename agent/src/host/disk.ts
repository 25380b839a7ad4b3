/** The file system on which a path lies, and its room. */
import { stat, statfs } from "node:fs/promises";

export interface Disk {
  /** As stat(2) tells it: paths with the same one share their room. */
  readonly device: number;
  /** For root, too, no more than for everybody. */
  readonly freeBytes: number;
}

/** Throws ENOENT if there is nothing under that path. */
export async function diskOf(path: string): Promise<Disk> {
  const [{ dev }, { bavail, bsize }] = await Promise.all([stat(path), statfs(path)]);
  return { device: dev, freeBytes: bavail * bsize };
}
