/** On what a mount of a container lies, and whether two hosts can share it. Pure. */
import type { Mount } from "../host/mountinfo.ts";
import type { MountPoint } from "../docker/types.ts";

/** Storage behind a directory of the host. */
export interface Storage {
  readonly fileSystem: string;
  /** Export or device, for example "10.0.0.5:/srv". */
  readonly source: string;
  /** Where in that file system the directory is. */
  readonly path: string;
}

/** A mount as InspectSource describes it: Docker's words, and what lies under it. */
export interface DescribedMount extends MountPoint {
  readonly Storage?: Storage;
}

const SHARED = new Set(["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.glusterfs", "fuse.ceph"]);

/** File systems that several hosts can have mounted at once, known by the name of the export. */
export function isSharedStorage(storage: Storage): boolean {
  return SHARED.has(storage.fileSystem);
}

export function sameStorage(a: Storage, b: Storage): boolean {
  return (
    isSharedStorage(a) && family(a.fileSystem) === family(b.fileSystem) && a.source === b.source && a.path === b.path
  );
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
  return { fileSystem: best.type, source: best.source, path: join(best.root, below) };
}

function join(root: string, below: string): string {
  return `${root === "/" ? "" : root}${below === "/" ? "" : below}` || "/";
}
