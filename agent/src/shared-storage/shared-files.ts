/** Files on shared storage that the processes of a container have open or mapped. */
import { readdir, readFile, readlink } from "node:fs/promises";
import type { Mount } from "../host/mountinfo.ts";
import { runCommand } from "../host/run-command.ts";
import { unlessGone } from "../host/unless-gone.ts";
import { namespacePids, openForWriting } from "../layer/written-paths.ts";
import { isSharedStorage, storageOf } from "./storage.ts";

const STAT_DEADLINE_MS = 10_000;
const LINKS_AT_ONCE = 1000;
const TYPE_MASK = 0o170000;
const REGULAR = 0o100000;

/** Such a file in the hands of one process. */
export interface SharedFile {
  readonly pid: number;
  /** Its descriptor; undefined if it is mapped and not open any more, as far as this mapping goes. */
  readonly fd: number | undefined;
  /** A link in /proc that leads to the file itself, whatever has become of its name. */
  readonly link: string;
  /** In the container. */
  readonly path: string;
  /** By descriptor or by mapping, the process can write to it. */
  readonly writable: boolean;
  readonly fileSystem: string;
}

/** Those of the mounts that several hosts can have. */
export function sharedMounts(mountTable: readonly Mount[]): Mount[] {
  return mountTable.filter((mount) => {
    const storage = storageOf(mount.mountPoint, [mount]);
    return storage !== undefined && isSharedStorage(storage);
  });
}

/**
 * Regular files, of all processes in the pid namespace of `initPid`, each as often as it is open. Deleted ones are left
 * out: CRIU carries what is in them, or refuses. `mounts` are those to look at, as the container numbers them.
 */
export async function sharedFilesOf(
  initPid: number,
  mounts: readonly Mount[],
  signal?: AbortSignal,
): Promise<SharedFile[]> {
  if (mounts.length === 0) return [];
  const found: SharedFile[] = [];
  for (const pid of namespacePids(initPid)) {
    signal?.throwIfAborted();
    found.push(...(await openFiles(pid, mounts)), ...(await mappedFiles(pid, mounts)));
  }
  const regular = await regularFiles(
    found.map(({ link }) => link),
    signal,
  );
  return found.filter(({ link }) => regular.has(link));
}

/** Those of the links that lead to regular files. By a command: a server that is dead must not hang the agent. */
async function regularFiles(links: readonly string[], signal: AbortSignal | undefined): Promise<ReadonlySet<string>> {
  const regular = new Set<string>();
  for (let at = 0; at < links.length; at += LINKS_AT_ONCE) {
    const argv = ["stat", "--dereference", "--format=%f %n", "--", ...links.slice(at, at + LINKS_AT_ONCE)];
    // 1: one of them is gone.
    const { stdout } = await runCommand(argv, { deadlineMs: STAT_DEADLINE_MS, okCodes: [0, 1], signal });
    for (const line of stdout.split("\n")) {
      const [mode = "", link = ""] = line.split(" ");
      if ((Number.parseInt(mode, 16) & TYPE_MASK) === REGULAR) regular.add(link);
    }
  }
  return regular;
}

async function openFiles(pid: number, mounts: readonly Mount[]): Promise<SharedFile[]> {
  const found: SharedFile[] = [];
  for (const name of (await unlessGone(readdir(`/proc/${pid}/fd`))) ?? []) {
    const link = `/proc/${pid}/fd/${name}`;
    const path = await unlessGone(readlink(link));
    if (path === undefined || !path.startsWith("/") || isDeleted(path)) continue;
    const fdinfo = (await unlessGone(readFile(`/proc/${pid}/fdinfo/${name}`, "utf8"))) ?? "";
    const mountId = Number(/^mnt_id:\s*([0-9]+)$/m.exec(fdinfo)?.[1] ?? -1);
    const mount = mounts.find(({ id }) => id === mountId);
    if (mount === undefined) continue;
    found.push({ pid, fd: Number(name), link, path, writable: openForWriting(fdinfo), fileSystem: mount.type });
  }
  return found;
}

async function mappedFiles(pid: number, mounts: readonly Mount[]): Promise<SharedFile[]> {
  const maps = (await unlessGone(readFile(`/proc/${pid}/maps`, "utf8"))) ?? "";
  return writableMappings(maps).flatMap(({ range, device, path }) => {
    const mount = mounts.find((each) => each.device === device);
    if (mount === undefined || isDeleted(path)) return [];
    const link = `/proc/${pid}/map_files/${range}`;
    return [{ pid, fd: undefined, link, path, writable: true, fileSystem: mount.type }];
  });
}

export interface Mapping {
  /** As /proc/<pid>/map_files names it. */
  readonly range: string;
  /** As mountinfo writes it. */
  readonly device: string;
  readonly path: string;
}

/** Files that are mapped shared and writable. Pure. */
export function writableMappings(maps: string): Mapping[] {
  const lines = maps.matchAll(/^0*([0-9a-f]+)-0*([0-9a-f]+) .w.s [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) [0-9]+ +(\/.*)$/gm);
  return [...lines].map(([, from, to, major = "", minor = "", path = ""]) => ({
    range: `${from}-${to}`,
    device: `${Number.parseInt(major, 16)}:${Number.parseInt(minor, 16)}`,
    path,
  }));
}

function isDeleted(path: string): boolean {
  return path.endsWith(" (deleted)");
}
