/** Mounts of the host below a directory. */
import { readFile } from "node:fs/promises";
import { run } from "./run.ts";

/** Mount points at or below `directory`, deepest first; from /proc/self/mountinfo. */
export function mountsBelow(mountinfo: string, directory: string): string[] {
  return mountinfo
    .split("\n")
    .flatMap((line) => line.split(" ")[4] ?? [])
    .map((path) => path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))))
    .filter((path) => path === directory || path.startsWith(`${directory}/`))
    .reverse();
}

export async function unmountBelow(directory: string): Promise<void> {
  for (const path of mountsBelow(await readFile("/proc/self/mountinfo", "utf8"), directory)) {
    await run(["umount", path]);
  }
}

export async function isMountPoint(path: string): Promise<boolean> {
  return mountsBelow(await readFile("/proc/self/mountinfo", "utf8"), path).includes(path);
}
