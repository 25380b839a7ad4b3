/** On what a mount of a container lies, and whether two hosts can share it. Pure. */
import type { Mount } from "../host/mountinfo.ts";
import type { MountPoint, VolumeInspect } from "../docker/types.ts";

/** Storage behind a directory of the host. */
export interface Storage {
  readonly fileSystem: string;
  /** Export or device, for example "10.0.0.5:/srv". */
  readonly source: string;
  /** Where in that file system the directory is. */
  readonly path: string;
  /** Number of the directory, which the server gives; undefined if it could not be had. */
  readonly inode?: string;
}

/** A mount as InspectSource describes it: Docker's words, and what lies under it. */
export interface DescribedMount extends MountPoint {
  readonly Storage?: Storage;
}

const SHARED = new Set([
  "nfs",
  "nfs4",
  "cifs",
  "smb3",
  "ceph",
  "glusterfs",
  "fuse.glusterfs",
  "fuse.ceph",
  "fuse.ceph-fuse",
]);

/** File systems that several hosts can have mounted at once, known by the name of the export. */
export function isSharedStorage(storage: Storage): boolean {
  return SHARED.has(storage.fileSystem);
}

/** By the names, and by the directory's number: "localhost" or a name that each host resolves for itself may be two. */
export function sameStorage(a: Storage, b: Storage): boolean {
  return (
    isSharedStorage(a) &&
    family(a.fileSystem) === family(b.fileSystem) &&
    a.source === b.source &&
    a.path === b.path &&
    (clientsGiveInodes(a) || a.inode === b.inode)
  );
}

/** Of CIFS servers some have no numbers of their own. */
function clientsGiveInodes({ fileSystem }: Storage): boolean {
  return fileSystem === "cifs" || fileSystem === "smb3";
}

function family(fileSystem: string): string {
  return fileSystem.startsWith("nfs") ? "nfs" : fileSystem.replace(/^fuse\./, "");
}

/** The storage of a directory, by the host's mounts; the last mount that covers it counts. */
export function storageOf(directory: string, mounts: readonly Mount[]): Storage | undefined {
  let best: Mount | undefined;
  for (const mount of mounts) {
    const covers =
      mount.mountPoint === "/" || directory === mount.mountPoint || directory.startsWith(`${mount.mountPoint}/`);
    if (covers && (best === undefined || mount.mountPoint.length >= best.mountPoint.length)) best = mount;
  }
  if (best === undefined) return undefined;
  const below = best.mountPoint === "/" ? directory : directory.slice(best.mountPoint.length);
  return { fileSystem: best.type, source: exportOf(best), path: join(best.root, below) };
}

/**
 * Where what is in a volume can be found, by the host's mounts. Docker's own driver mounts a volume with options only
 * while a container has it; if the options make it a bind of a directory, that directory tells.
 */
export function directoryOfVolume(volume: VolumeInspect, mounts: readonly Mount[]): string {
  const { Driver: driver, Mountpoint: mountPoint, Options: options } = volume;
  const bound = driver === "local" && options?.["type"] === "none" ? options["device"] : undefined;
  return bound === undefined || mounts.some((mount) => mount.mountPoint === mountPoint) ? mountPoint : bound;
}

/** Docker mounts NFS volumes as ":/export", and says the server in an option. */
function exportOf({ source, superOptions }: Mount): string {
  const server = superOptions.find((option) => option.startsWith("addr="));
  return source.startsWith(":") && server !== undefined ? `${server.slice("addr=".length)}${source}` : source;
}

function join(root: string, below: string): string {
  return `${root === "/" ? "" : root}${below === "/" ? "" : below}` || "/";
}
