/** Files of one file system that a container's processes have open for writing, or mapped so that they may write. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { namespacePids, openForWriting } from "../layer/written-paths.ts";

/**
 * Inode numbers. By these and not by paths: a process may see its files under another root.
 *
 * @param directory where the file system is mounted here
 * @param device its major and minor number, "0:57"
 */
export async function openInodes(
  initPid: number,
  { directory, device }: { readonly directory: string; readonly device: string },
  signal?: AbortSignal,
): Promise<Set<bigint>> {
  const { dev } = statSync(directory, { bigint: true });
  const found = new Set<bigint>();
  for (const pid of namespacePids(initPid)) {
    await nextTurn();
    signal?.throwIfAborted();
    for (const fd of unlessEnded(() => readdirSync(`/proc/${pid}/fd`)) ?? []) {
      const file = unlessEnded(() => statSync(`/proc/${pid}/fd/${fd}`, { bigint: true }));
      if (file?.dev !== dev || !file.isFile()) continue;
      if (openForWriting(unlessEnded(() => readFileSync(`/proc/${pid}/fdinfo/${fd}`, "latin1")) ?? "")) {
        found.add(file.ino);
      }
    }
    const maps = unlessEnded(() => readFileSync(`/proc/${pid}/maps`, "latin1")) ?? "";
    for (const inode of sharedMappings(maps, device)) found.add(inode);
  }
  return found;
}

/** Of a file system's files. Those that are only read are among them: what may be written to changes with mprotect(2). Pure. */
export function sharedMappings(maps: string, device: string): bigint[] {
  const [major = 0, minor = 0] = device.split(":").map(Number);
  const found: bigint[] = [];
  for (const line of maps.split("\n")) {
    const match = /^[0-9a-f]+-[0-9a-f]+ ...s [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) ([0-9]+)/.exec(line);
    const [, majorText = "", minorText = "", inode = ""] = match ?? [];
    if (Number.parseInt(majorText, 16) === major && Number.parseInt(minorText, 16) === minor) found.push(BigInt(inode));
  }
  return found;
}

/** Processes end while they are looked at, and close files. */
function unlessEnded<T>(reading: () => T): T | undefined {
  try {
    return reading();
  } catch {
    return undefined;
  }
}
