/** Files that a container's processes can write to without opening them again: by a descriptor or a mapping. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { LayerPath } from "./types.ts";

const O_ACCMODE = 0o3;
const DELETED = " (deleted)";

/** Pids, as this host numbers them, of all processes in the pid namespace of `initPid`. */
export function namespacePids(initPid: number): number[] {
  const namespace = link(`/proc/${initPid}/ns/pid`);
  if (namespace === undefined) return [];
  return readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name) && link(`/proc/${name}/ns/pid`) === namespace)
    .map(Number);
}

/**
 * Paths as layer paths. Some may lie on other mounts of the container: they are simply not in the layer. Deleted files
 * are left out: CRIU carries them.
 */
export async function writtenPaths(initPid: number, signal?: AbortSignal): Promise<ReadonlySet<LayerPath>> {
  const found = new Set<LayerPath>();
  const add = (path: string): void => {
    if (path.startsWith("/") && !path.endsWith(DELETED)) found.add(path.slice(1));
  };
  for (const pid of namespacePids(initPid)) {
    await nextTurn();
    signal?.throwIfAborted();
    for (const fd of names(`/proc/${pid}/fd`)) {
      const path = link(`/proc/${pid}/fd/${fd}`);
      if (path?.startsWith("/") === true && openForWriting(text(`/proc/${pid}/fdinfo/${fd}`))) add(path);
    }
    for (const path of sharedWritableMappings(text(`/proc/${pid}/maps`))) add(path);
  }
  return found;
}

/** `flags:` of fdinfo is octal. */
export function openForWriting(fdinfo: string): boolean {
  const flags = /^flags:\s*([0-7]+)$/m.exec(fdinfo)?.[1];
  return flags !== undefined && (Number.parseInt(flags, 8) & O_ACCMODE) !== 0;
}

/** Files of mappings that are both shared and writable. The kernel writes a newline in a name as \012. */
export function sharedWritableMappings(maps: string): string[] {
  const found: string[] = [];
  for (const line of maps.split("\n")) {
    const match = /^[0-9a-f]+-[0-9a-f]+ .w.s [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ [0-9]+\s+(\/.*)$/.exec(line);
    if (match?.[1] !== undefined) found.push(match[1].replaceAll("\\012", "\n"));
  }
  return found;
}

// Processes end while they are looked at; what is gone has nothing open any more.

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function link(path: string): string | undefined {
  try {
    return readlinkSync(path, { encoding: "latin1" });
  } catch {
    return undefined;
  }
}

function text(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
