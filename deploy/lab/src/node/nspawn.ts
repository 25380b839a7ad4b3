/** The command line of a node's systemd-nspawn. */

/**
 * CRIU suspends seccomp filters while it dumps, and the kernel lets only a
 * process without a filter do so; it writes ns_last_pid; and the node's
 * systemd boots only on cgroup v2, whatever the host uses.
 */
export const NSPAWN_ENVIRONMENT: Readonly<Record<string, string>> = {
  SYSTEMD_SECCOMP: "0",
  SYSTEMD_NSPAWN_API_VFS_WRITABLE: "yes",
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: "1",
};

export interface NspawnOptions {
  /** Name on the host; the veth's end on the host is `vb-<machine>`. */
  readonly machine: string;
  readonly hostname: string;
  readonly root: string;
  readonly bridge: string;
  /** Paths in the node to directories of the host. */
  readonly binds: Readonly<Record<string, string>>;
}

export function nspawnArgv(options: NspawnOptions): string[] {
  return [
    "systemd-nspawn",
    "--quiet",
    `--directory=${options.root}`,
    `--machine=${options.machine}`,
    `--hostname=${options.hostname}`,
    "--settings=no",
    "--register=no",
    "--keep-unit",
    "--capability=all",
    `--network-bridge=${options.bridge}`,
    "--resolv-conf=off",
    "--timezone=off",
    "--link-journal=no",
    ...Object.entries(options.binds).map(([target, source]) => `--bind=${source}:${target}`),
    "--boot",
  ];
}
