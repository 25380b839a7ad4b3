/**
 * What processes watch with inotify. The kernel tells inodes, not paths, and CRIU carries a watch only if it finds the
 * path: on overlay file systems inodes cannot be opened by their handle, and on others a handle means nothing on
 * another host. So the paths are sought here, while the container runs, and CRIU is told where to look.
 */
import { readdir, readFile, readlink } from "node:fs/promises";
import type { Mount } from "./mountinfo.ts";
import { runCommand } from "./run-command.ts";
import { unlessGone } from "./unless-gone.ts";

export interface FileWatch {
  /** Of the file system, as mountinfo names it: "0:135". */
  readonly device: string;
  /** Decimal. */
  readonly inode: string;
}

export interface ResolvedWatches {
  /** Paths in the container, sorted; every watched inode has at least one. */
  readonly paths: readonly string[];
  /** Watches of files that have no path (any more). */
  readonly unresolved: readonly FileWatch[];
}

const INOTIFY = /^(anon_inode:)?inotify$/;
const MINOR_BITS = 20n;

/** Lines of fdinfo are "inotify wd:1 ino:52c018 sdev:87 mask:102 …", hexadecimal. Pure. */
export function parseWatches(fdinfo: string): FileWatch[] {
  return [...fdinfo.matchAll(/^inotify wd:\S+ ino:([0-9a-f]+) sdev:([0-9a-f]+) /gm)].map(([, ino, sdev]) => {
    const device = BigInt(`0x${sdev}`);
    return {
      device: `${device >> MINOR_BITS}:${device & ((1n << MINOR_BITS) - 1n)}`,
      inode: BigInt(`0x${ino}`).toString(),
    };
  });
}

/** The watches of a process, empty if it has ended. */
export async function watchesOf(pid: number): Promise<FileWatch[]> {
  const found: FileWatch[] = [];
  for (const fd of (await unlessGone(readdir(`/proc/${pid}/fd`))) ?? []) {
    const target = await unlessGone(readlink(`/proc/${pid}/fd/${fd}`));
    if (target === undefined || !INOTIFY.test(target)) continue;
    found.push(...parseWatches((await unlessGone(readFile(`/proc/${pid}/fdinfo/${fd}`, "utf8"))) ?? ""));
  }
  return found;
}

/** Seeks the paths of watched files on `mounts`, the container's own. Throws DrayError COMMAND_FAILED, TIMEOUT, CANCELLED. */
export async function resolveWatches(
  initPid: number,
  watches: readonly FileWatch[],
  mounts: readonly Mount[],
  signal?: AbortSignal,
): Promise<ResolvedWatches> {
  const paths = new Set<string>();
  const resolved = new Set<string>();
  for (const device of new Set(watches.map((watch) => watch.device))) {
    const inodes = [...new Set(watches.filter((watch) => watch.device === device).map(({ inode }) => inode))];
    for (const { mountPoint } of mounts.filter((mount) => mount.device === device)) {
      for (const { path, inode, number } of await find(initPid, mountPoint, inodes, signal)) {
        // What an overlay shows with the number of a layer's file system, CRIU does not recognise; nor can it be told
        // of names with these characters.
        if (number !== deviceNumber(device) || /["\\\n]/.test(path)) continue;
        paths.add(path);
        resolved.add(`${device} ${inode}`);
      }
    }
  }
  const unresolved = watches.filter(({ device, inode }) => !resolved.has(`${device} ${inode}`));
  return { paths: [...paths].sort(), unresolved };
}

/** As stat(2) shows it. Pure. */
export function deviceNumber(device: string): string {
  const [major = 0n, minor = 0n] = device.split(":").map(BigInt);
  const low = ((major & 0xfffn) << 8n) | (minor & 0xffn);
  return (low | ((minor & ~0xffn) << 12n) | ((major & ~0xfffn) << 32n)).toString();
}

interface Found {
  readonly path: string;
  readonly inode: string;
  /** Of the device, as stat(2) shows it. */
  readonly number: string;
}

/** Each of these inodes below the mount point, on its file system. */
async function find(
  initPid: number,
  mountPoint: string,
  inodes: readonly string[],
  signal: AbortSignal | undefined,
): Promise<Found[]> {
  const root = `/proc/${initPid}/root`;
  const start = mountPoint === "/" ? `${root}/` : `${root}${mountPoint}`;
  const wanted = inodes.flatMap((inode, index) => [...(index === 0 ? [] : ["-o"]), "-inum", inode]);
  // What vanishes during the walk makes find end with 1.
  const { stdout } = await runCommand(["find", start, "-xdev", "(", ...wanted, ")", "-printf", "%i %D %p\\0"], {
    signal,
    okCodes: [0, 1],
  });
  return stdout
    .split("\0")
    .filter((line) => line !== "")
    .map((line) => {
      const [inode = "", number = ""] = line.split(" ", 2);
      const path = line.slice(inode.length + number.length + 2 + root.length);
      return { inode, number, path: path.replace(/(?<=.)\/+$/, "") };
    });
}
