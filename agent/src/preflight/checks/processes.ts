/** What processes hold that CRIU cannot carry, or carries differently. */
import type { FileWatch } from "../../host/file-watches.ts";
import { type Check, when } from "../check.ts";
import type { SourceFacts } from "../source-facts.ts";
import { isSharedStorage, storageOf } from "../../shared-storage/storage.ts";

export const PROCESS_CHECKS: readonly Check<SourceFacts>[] = [
  {
    code: "other-users-processes",
    severity: "blocking",
    find: ({ processes, foreignObjection }) => {
      const names = new Set(processes.filter(({ foreign }) => foreign).map(({ name }) => name));
      return when(
        foreignObjection !== "",
        `${[...names].join(", ")} run as other users than root, whose processes cannot be dumped here: ${foreignObjection}.`,
        "Give CRIU CAP_SYS_RESOURCE: it is missing in the agent's bounding set (`grep CapBnd /proc/1/status`), so whatever runs this host withholds it.",
      );
    },
  },
  {
    code: "io-uring",
    severity: "blocking",
    find: ({ processes }) =>
      processes
        .filter(({ usesIoUring }) => usesIoUring)
        .map(({ name, pid }) => ({
          message: `Process ${name} (${pid}) uses io_uring, which CRIU cannot dump.`,
          remedy: "Switch io_uring off in the application, or for all with the sysctl kernel.io_uring_disabled=2.",
        })),
  },
  {
    code: "mptcp",
    severity: "blocking",
    find: ({ mptcpSockets }) =>
      mptcpSockets.map(({ state, local }) => ({
        message: `The socket on ${local} (${state}) is MPTCP, which CRIU cannot dump.`,
        remedy: "Programs in Go: set GODEBUG=multipathtcp=0. Others: listen with plain TCP.",
      })),
  },
  {
    code: "lock-on-shared-mount",
    severity: "blocking",
    find: ({ processes, mountTable, remotelyLocked }) => {
      const own = processes.flatMap(({ name, pid, locks }) =>
        locks
          .filter(({ mountId }) => {
            const mount = mountTable.find(({ id }) => id === mountId);
            const storage = mount === undefined ? undefined : storageOf(mount.mountPoint, [mount]);
            return storage !== undefined && isSharedStorage(storage);
          })
          .map(({ kind, path }) => ({
            message: `Process ${name} (${pid}) holds a lock (${kind}) on ${path}, which is on shared storage.`,
            remedy: "The frozen source would hold it against the copy for ever: let the application release it.",
          })),
      );
      const remote = remotelyLocked.map(({ pid, path }) => {
        const name = processes.find((each) => each.pid === pid)?.name ?? "?";
        return {
          message: `Process ${name} (${pid}) has ${path} open, which is on shared storage, and a lock is held on it.`,
          remedy: "Nobody can tell whose lock it is, and the copy would lose it: let whoever holds it release it.",
        };
      });
      return [...own, ...remote];
    },
  },
  {
    code: "unix-socket-outside",
    severity: "blocking",
    find: ({ processes, unixSockets }) => {
      const own = new Set(processes.flatMap(({ socketInodes }) => socketInodes));
      return unixSockets
        .filter(
          ({ kind, state, inode, peerInode }) =>
            // The end that waits to be accepted has no inode yet; it belongs to a listener of the container.
            kind !== "u_dgr" && state === "ESTAB" && own.has(inode) && peerInode !== 0 && !own.has(peerInode),
        )
        .map(({ inode, path }) => {
          const holder = processes.find(({ socketInodes }) => socketInodes.includes(inode));
          return {
            message: `Process ${holder?.name ?? "?"} has a unix socket (${path}) whose other end is outside of the container.`,
            remedy: "Close the connection, or reach the service over the network.",
          };
        });
    },
  },
  {
    code: "inotify-without-path",
    severity: "blocking",
    find: ({ processes, unresolvedWatches }) => {
      const lost = new Set(unresolvedWatches.map(watchKey));
      return processes
        .map(({ name, pid, watches }) => ({ name, pid, inodes: watches.map(watchKey).filter((key) => lost.has(key)) }))
        .filter(({ inodes }) => inodes.length > 0)
        .map(({ name, pid, inodes }) => ({
          message: `Process ${name} (${pid}) watches with inotify what has no path (any more): ${inodes.join(", ")}.`,
          remedy: "CRIU finds watched files by path: let the application watch anew, or restart it.",
        }));
    },
  },
];

function watchKey({ device, inode }: FileWatch): string {
  return `inode ${inode} on device ${device}`;
}
