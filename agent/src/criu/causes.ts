/**
 * Known causes of failed dumps and restores, most specific first. The
 * patterns match lines of CRIU 4.1 and 4.2 and of runc 1.1 to 1.3.
 */
export interface Cause {
  readonly code: string;
  readonly pattern: RegExp;
  readonly meaning: string;
  readonly remedy: string;
}

/**
 * Pages that a restore could not read. Where they are of shared memory CRIU goes on without them
 * (do_restore_shmem_content in criu/shmem.c).
 */
export const UNREAD_PAGES: Cause = {
  code: "unread_pages",
  pattern:
    /Error .*(Can't read mapping page|Failed getting raw image fd|Missing [0-9a-f]+ in parent pagemap|No parent for snapshot pagemap)/,
  meaning: "pages of memory could not be read from the images",
  remedy: "See the kernel's log for errors of the disk below /var/lib/drayage/images, then migrate again.",
};

export const CAUSES: readonly Cause[] = [
  UNREAD_PAGES,
  {
    code: "no_memory",
    // ENOMEM of mmap(2).
    pattern: /Can't restore 0x[0-9a-f]+ mapping with 0xf+4\b/,
    meaning: "the destination has not the memory for a mapping, perhaps too few huge pages",
    remedy: "Reserve as many huge pages there as the container uses (sysctl vm.nr_hugepages), then migrate again.",
  },
  // What the container does that cannot be carried
  {
    code: "io_uring",
    pattern: /(io_uring|io-uring)/,
    meaning: "a process uses io_uring, which CRIU cannot dump",
    remedy: "Turn io_uring off in the application (for example `UV_USE_IO_URING=0` for Node.js) and restart it.",
  },
  {
    code: "mptcp",
    pattern: /Unsupported proto 262\b|multipathtcp=0/,
    meaning: "a process listens with multipath TCP, which CRIU cannot dump",
    remedy: "Start Go programs with GODEBUG=multipathtcp=0; in others turn MPTCP off.",
  },
  {
    code: "unsupported_socket",
    pattern: /Unsupported (proto|type) \(?\d+\)? (for|on) socket|Unsupported socket family|unsupported packet socket/i,
    meaning: "a process holds a socket of a kind that CRIU cannot dump",
    remedy: "Close that socket in the application (raw, SCTP and similar sockets cannot be carried).",
  },
  {
    code: "ghost_file_too_large",
    pattern: /Can't dump ghost file .* increase limit/,
    meaning: "a deleted file that is still open is larger than the limit",
    remedy: "Let the application close deleted files (rotate its logs); those above 1 GiB are not carried.",
  },
  {
    code: "accept_queue",
    pattern: /In-flight connection \(l\)/,
    meaning: "a listening socket had connections that the application had not accepted yet",
    remedy: "Try again when it is less busy; if it is always so, the application does not accept its connections.",
  },
  {
    code: "unix_in_flight",
    pattern: /In-flight connection on|Non-empty write queue on an in-flight socket|closed in-flight socket/,
    meaning: "a unix socket had connections that the application had not accepted yet",
    remedy: "Try again when it is less busy.",
  },
  {
    code: "external_unix_socket",
    pattern:
      /External socket is used|Can't dump half of stream unix connection|name-less external socket|unreachable peer|External socket found in image/,
    meaning: "a process is connected by a unix socket to something outside the container",
    remedy: "Take the bind mount of the socket (such as docker.sock) out of the container, or close the connection.",
  },
  {
    code: "inotify",
    pattern: /Can't dump that handle/,
    meaning: "a file watch (inotify or fanotify) on a file that CRIU cannot find again, usual on overlay file systems",
    remedy: "Turn file watching off in the application, or let it watch by polling.",
  },
  {
    code: "file_locks",
    pattern: /Some file locks are hold by dumping tasks|Unknown file lock|lease .* is broken/i,
    meaning: "a process holds a file lock that cannot be carried",
    remedy: "Locks on mounts shared with the host must be released before the migration.",
  },
  {
    code: "device_file",
    pattern: /Can't dump file \d+ of that type \[\d+\] \((chr|blk) /,
    meaning: "a process has a device open that CRIU cannot dump",
    remedy: "Containers that use devices or GPUs cannot be migrated.",
  },
  {
    code: "unsupported_file",
    pattern: /Can't dump file \d+ of that type/,
    meaning: "a process has a file open of a kind that CRIU cannot dump",
    remedy: "The line names the descriptor and its kind; close it in the application.",
  },
  {
    code: "unsupported_mapping",
    pattern: /Can't handle non-regular mapping|Unsupported mapping found|Strange file mapped/,
    meaning: "a process has memory mapped from something that CRIU cannot dump",
    remedy: "Look for devices, GPUs or io_uring in the application.",
  },
  {
    code: "uprobes",
    pattern: /has uprobes vma/,
    meaning: "a tracing tool has put probes into a process",
    remedy: "Stop the tracer (bpftrace, perf probe) on the node.",
  },
  {
    code: "exec_session",
    pattern: /A session leader of .* is outside of its pid namespace|Found dangling tty/,
    meaning: "a process belongs to a terminal or session outside of the container, such as an open `docker exec`",
    remedy: "End open exec sessions of the container.",
  },
  {
    code: "ptraced",
    pattern:
      /Unable to (seize|detach|attach)|Unseizable|ptrace\(PTRACE_SEIZE.*\).*Operation not permitted|SEIZE .*: can't ptrace/i,
    meaning: "a process could not be traced",
    remedy: "Detach debuggers and tracers from the container's processes.",
  },
  {
    code: "user_namespace",
    pattern: /doesn't belong to the target user namespace|userns|user namespace/i,
    meaning: "the container's user namespace stands in the way",
    remedy: "Run the container without user namespace remapping.",
  },
  {
    code: "nested_namespace",
    pattern: /Nested (mount|pid) namespaces are not supported|nested pid/i,
    meaning: "the container holds namespaces of its own, as Docker in Docker does",
    remedy: "Containers that run containers cannot be migrated.",
  },
  // Files and mounts
  {
    code: "mount_not_found",
    pattern:
      /Can't lookup mount=|Unable to find suitable mount point|No mapping for .* mountpoint|mount is not found for/,
    meaning: "an open file lies on a mount that is not the container's",
    remedy: "Restart the container: a descriptor of the host has got into it.",
  },
  {
    code: "unsupported_mount",
    pattern:
      /FS mnt .* unsupported id|unreachable sharing|doesn't have a proper root mount|autodetected external mount|overmounted so paths are invisible/,
    meaning: "the container has a mount that CRIU cannot carry",
    remedy: "The line names the mount; take it out, or mount it privately.",
  },
  {
    code: "file_changed",
    pattern: /File .* has bad (size|mode|build-id|mtime)|checksum mismatch/i,
    meaning: "a file is not the same on the destination as it was on the source",
    remedy: "The writable layer or a shared mount differs; look whether something else writes to it.",
  },
  {
    code: "file_missing",
    pattern: /Can't open file .*: No such file or directory|Can't open (vma|file by path).*No such file/i,
    meaning: "a file that a process has open is missing on the destination",
    remedy: "Look whether it lies on a mount that the destination does not have.",
  },
  {
    code: "link_remap",
    pattern: /Can't create link remap for/,
    meaning: "a deleted file with other names could not be linked back",
    remedy: "Let the application close the deleted file that the line names.",
  },
  // Network
  {
    code: "address_missing",
    pattern: /Can't (bind|connect) inet socket( back)?: (Cannot assign requested address|Network is unreachable)/,
    meaning: "the container's address was not in its network namespace when sockets were restored",
    remedy:
      "Disconnect the container from bridge networks that it has besides others, where its address changes: `docker network disconnect`. Else something on the destination has taken the address away while the container came.",
  },
  {
    code: "port_in_use",
    pattern: /Can't bind (inet socket|page server).*Address already in use/,
    meaning: "an address and port is taken",
    remedy: "Something else listens there; a page server may be left over from a failed run.",
  },
  {
    code: "half_closed_tcp",
    pattern: /TCP_REPAIR can't be enabled for half-closed/,
    meaning: "the kernel cannot carry half-closed TCP connections",
    remedy: "Use a newer kernel on that node.",
  },
  // The host
  {
    code: "socket_option",
    pattern: /Can't get 1:(16|34|18) opt/,
    meaning: "CRIU is too old for the kernel: it asks sockets for an option (SO_PASSCRED) that Linux 6.16 refuses",
    remedy: "Install CRIU 4.2 or newer on that node.",
  },
  {
    code: "pipe_max_size",
    pattern:
      /tee: .*Operation not permitted|Can't (increase|set) .*pipe|F_SETPIPE_SZ|page-pipe.*(Operation not permitted|Device or resource busy)/,
    meaning: "pipes cannot be made large enough",
    remedy: "Raise fs.pipe-max-size on that node, for example `sysctl fs.pipe-max-size=268435456`.",
  },
  {
    code: "sys_resource",
    pattern: /Can't (get|set|restore) rlimit/,
    meaning: "CRIU may not read or set the limits of other users' processes: it lacks CAP_SYS_RESOURCE",
    remedy: "Give the node CAP_SYS_RESOURCE: what runs the host itself (a container, a hardened systemd) withholds it.",
  },
  {
    code: "dirty_tracking",
    pattern: /Dirty tracking is OFF|Tracking memory is not available|mem_dirty_track/,
    meaning: "the kernel does not track written pages",
    remedy: "Use a kernel with CONFIG_MEM_SOFT_DIRTY, or the mode stop-copy.",
  },
  {
    code: "cpu_mismatch",
    pattern:
      /CPU (instruction )?capabilities do not match|FPU feature required by image|CPU xsave (max )?size mismatch|unsupported bits/,
    meaning: "the destination's CPU lacks features that the container uses",
    remedy: "Choose a destination with the same or a newer CPU.",
  },
  {
    code: "seccomp",
    pattern: /[Ss]uspending seccomp failed|PTRACE_O_SUSPEND_SECCOMP/,
    meaning: "seccomp of the container could not be suspended",
    remedy: "The agent or runc runs under a seccomp filter itself, or the kernel lacks CONFIG_CHECKPOINT_RESTORE.",
  },
  {
    code: "pid_in_use",
    pattern: /Pid \d+ do(es)? not match expected|ns_last_pid|Can't fork for \d+: File exists|clone3? .*File exists/,
    meaning: "a process number could not be given back",
    remedy: "Look whether /proc/sys/kernel/ns_last_pid is writable and clone3 with set_tid works on that node.",
  },
  {
    code: "freeze",
    pattern: /Unable to freeze (cgroup|tasks)|freezer\.state.*(fail|error)|Timeout reached\. Try to interrupt/i,
    meaning: "the tasks could not be frozen in time",
    remedy: "A task may hang in uninterruptible sleep: look for state D in `ps` on that node.",
  },
  {
    code: "no_space",
    pattern: /No space left on device/,
    meaning: "the images did not fit",
    remedy: "Free memory (tmpfs) or disk on that node.",
  },
  {
    code: "image_missing",
    pattern: /Can't open (image|file) .*\.img|Unable to open .*\.img|No .* image/i,
    meaning: "an image is missing",
    remedy: "The transfer was not complete; try again.",
  },
  {
    code: "missing_feature",
    pattern: /Unknown feature|is not supported( by kernel)?$|criu .* does not support|CRIU version .* must be/i,
    meaning: "CRIU or the kernel lacks a feature",
    remedy: "Install CRIU 4.2 or newer; see `criu check --all` on that node.",
  },
  {
    code: "page_socket",
    pattern: /cannot load keep-page-socket\.so|Can't read pagemap from socket: Bad file descriptor/,
    meaning: "CRIU does not load the library that keeps the socket of its pages open (LD_PRELOAD)",
    remedy:
      "Use the CRIU of the distribution: one that is linked statically loads none. A script before it in the PATH " +
      "must leave LD_PRELOAD as it is. If the file is missing, install the package drayage again.",
  },
  {
    code: "criu_missing",
    pattern: /exec: \\?"criu\\?": executable file not found|criu: not found/,
    meaning: "CRIU is not installed",
    remedy: "Install the package criu on that node.",
  },
];
