/**
 * Which file systems in memory travel as trees of files, beside the writable layer: CRIU would pack them with tar and
 * gzip while the container stands still. What is not among them CRIU carries in that way. Pure.
 */
import type { Mount } from "../host/mountinfo.ts";

export interface CarriedTmpfs {
  /** In the container, absolute. */
  readonly mountPoint: string;
  /** Major and minor number of the file system, "0:57". */
  readonly device: string;
  /** What it was mounted as, which its mount table shows: "shm", "tmpfs". */
  readonly source: string;
  /** Of mount(8), what limits it and how it keeps its pages: "size=65536k", "nr_inodes=1024", "huge=always". */
  readonly options: readonly string[];
}

/** What a copy must have in order to take the same files; a tree carries owner and mode of the root itself. */
const OPTION = /^(?:size=\d+[kmg%]?|nr_inodes=\d+[kmg]?|huge=[a-z_]+|noswap)$/;
/** A name that mount(8) takes for nothing else. */
const SOURCE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** Runc makes them, with little in them, and CRIU knows what they are. */
const OF_RUNC = /^\/(?:dev|proc\/.*|sys\/.*)$/;
/** In a line of CRIU's configuration, where it ends neither a word nor the brackets around it. */
const WRITABLE = /^\/[A-Za-z0-9._@%+=,:/-]+$/;

/**
 * @param container mounts that the container's first process sees
 * @param host those that this process sees: what is mounted here too is no tmpfs of the container's own
 */
export function carriedTmpfs(container: readonly Mount[], host: readonly Mount[]): CarriedTmpfs[] {
  const hostDevices = new Set(host.map(({ device }) => device));
  return container
    .filter(
      (mount) =>
        mount.type === "tmpfs" &&
        mount.root === "/" &&
        WRITABLE.test(mount.mountPoint) &&
        !OF_RUNC.test(mount.mountPoint) &&
        !hostDevices.has(mount.device) &&
        isAlone(mount, container),
    )
    .map(({ mountPoint, device, source, superOptions }) => ({
      mountPoint,
      device,
      source: SOURCE.test(source) ? source : "tmpfs",
      options: superOptions.filter((option) => OPTION.test(option)),
    }));
}

/** Whether what came from another host is of the kind of those above. */
export function isSound({ source, options }: Pick<CarriedTmpfs, "source" | "options">): boolean {
  return SOURCE.test(source) && options.every((option) => OPTION.test(option));
}

/** Mounted once, and nothing is mounted in it or over it. */
function isAlone({ id, device, mountPoint }: Mount, container: readonly Mount[]): boolean {
  return container.every(
    (other) =>
      other.id === id ||
      (other.device !== device && other.mountPoint !== mountPoint && !other.mountPoint.startsWith(`${mountPoint}/`)),
  );
}
