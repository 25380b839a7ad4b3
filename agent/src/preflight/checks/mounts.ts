/** Mounts of the container: what moves with it, what is there already, what cannot be had. */
import { type Check, when } from "../check.ts";
import type { DestinationFacts } from "../destination-facts.ts";
import type { SourceFacts } from "../source-facts.ts";
import { type DescribedMount, isSharedStorage, sameStorage, type Storage } from "../../shared-storage/storage.ts";

const KNOWN_FILE_SYSTEMS =
  /^(overlay|proc|sysfs|tmpfs|devpts|mqueue|cgroup2?|devtmpfs|ext[234]|xfs|btrfs|zfs|nfs4?|cifs|smb3|ceph|glusterfs|fuse\.(ceph|glusterfs))$/;
/** Where Docker mounts whole trees in every container. */
const TREES_OF_DOCKER = /^\/(proc|sys|dev)(\/|$)|^\/run\/secrets(\/|$)|^\/$/;

const local = ({ Type }: DescribedMount): boolean => Type !== "tmpfs";

export const SOURCE_MOUNT_CHECKS: readonly Check<SourceFacts>[] = [
  {
    code: "local-storage",
    severity: "blocking",
    find: ({ mounts }) =>
      mounts
        .filter((mount) => local(mount) && !(mount.Storage !== undefined && isSharedStorage(mount.Storage)))
        .map((mount) => ({
          message: `${describe(mount)} lies on this host alone (${onWhat(mount.Storage)}).`,
          remedy: "Put the data on storage that both hosts mount (NFS, CIFS, Ceph, Gluster), or in the container.",
        })),
  },
  {
    code: "unknown-mount-type",
    severity: "blocking",
    find: ({ mountTable }) =>
      mountTable
        .filter(({ type }) => !KNOWN_FILE_SYSTEMS.test(type))
        .map(({ mountPoint, type }) => ({
          message: `The file system ${type} on ${mountPoint} in the container is of a kind that cannot be carried.`,
          remedy: "Start the container without it.",
        })),
  },
  {
    code: "mount-made-inside",
    severity: "blocking",
    find: ({ mountTable, mountPointsOfDocker }) => {
      const told = new Set(mountPointsOfDocker);
      return mountTable
        .filter(({ mountPoint }) => !TREES_OF_DOCKER.test(mountPoint) && !told.has(mountPoint))
        .map(({ mountPoint, type }) => ({
          message: `The container has mounted ${type} on ${mountPoint} by itself; the copy would not have it.`,
          remedy: "Unmount it, or let Docker mount it when the container starts.",
        }));
    },
  },
  {
    code: "overlay-metacopy",
    severity: "blocking",
    find: ({ mountTable }) => {
      const root = mountTable.findLast(({ mountPoint }) => mountPoint === "/");
      return when(
        root?.superOptions.includes("metacopy=on") === true,
        "The container's overlay is mounted with metacopy=on: its layer holds files without their contents.",
        "Switch it off: `echo N > /sys/module/overlay/parameters/metacopy`, then start the container anew.",
      );
    },
  },
];

export const DESTINATION_MOUNT_CHECKS: readonly Check<DestinationFacts>[] = [
  {
    code: "storage-differs",
    severity: "blocking",
    find: ({ sourceMounts, storage }) =>
      sourceMounts.flatMap((mount, index) => {
        // What is on the source alone was refused there.
        if (!local(mount) || mount.Storage === undefined || !isSharedStorage(mount.Storage)) return [];
        const here = storage[index];
        if (here !== undefined && sameStorage(mount.Storage, here)) return [];
        return [
          {
            message: `${describe(mount)} is ${onWhat(mount.Storage)} on the source, but ${onWhat(here)} here.`,
            remedy: "Mount the same export at the same place on this host, volumes under the same name.",
          },
        ];
      }),
  },
];

function describe(mount: DescribedMount): string {
  const what = mount.Type === "volume" ? `The volume ${mount.Name ?? "?"}` : `The ${mount.Type} ${mount.Source ?? ""}`;
  return `${what} at ${mount.Destination}`;
}

function onWhat(storage: Storage | undefined): string {
  if (storage === undefined) return "nothing";
  const { fileSystem, source, path, inode } = storage;
  return `${fileSystem} ${source}${path}${inode === undefined ? "" : ` (inode ${inode})`}`;
}
