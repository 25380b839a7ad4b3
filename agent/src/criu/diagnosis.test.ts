import { expect, test } from "vitest";
import { CAUSES } from "./causes.ts";
import { diagnose } from "./diagnosis.ts";

const LINES: Readonly<Record<string, string>> = {
  io_uring: "(00.041177) Error (criu/files.c:489): Can't dump file 6 of that type [600] (anon anon_inode:[io_uring])",
  mptcp: "(00.032519) Error (criu/sk-inet.c:137): Unsupported proto 262 for socket 5c8a",
  unsupported_socket: "(00.032519) Error (criu/sk-inet.c:137): Unsupported proto 132 for socket 5c8a",
  ghost_file_too_large:
    "(00.052519) Error (criu/files-reg.c:1031): Can't dump ghost file /var/log/app.log of 2147487744 size, increase limit",
  accept_queue: "(00.030121) Error (criu/sk-inet.c:185): In-flight connection (l) for 9f2e",
  unix_in_flight: "(00.030121) Error (criu/sk-unix.c:494): In-flight connection on 0x4e2 not supported",
  external_unix_socket:
    "(00.030121) Error (criu/sk-unix.c:874): External socket is used. Consider using --ext-unix-sk option.",
  inotify: "(00.047441) Error (criu/fsnotify.c:284): \tCan't dump that handle",
  file_locks:
    "(00.021344) Error (criu/file-lock.c:110): Some file locks are hold by dumping tasks! You can try --file-locks to dump them.",
  device_file: "(00.041177) Error (criu/files.c:489): Can't dump file 4 of that type [20666] (chr 10:200 /dev/net/tun)",
  unsupported_file:
    "(00.041177) Error (criu/files.c:489): Can't dump file 9 of that type [600] (anon anon_inode:bpf-map)",
  unsupported_mapping: "(00.013111) Error (criu/proc_parse.c:663): Can't handle non-regular mapping on 812's map 7f3a",
  exec_session: "(00.013111) Error (criu/cr-dump.c:1681): A session leader of 911(37) is outside of its pid namespace",
  mount_not_found: "(00.041177) Error (criu/files-reg.c:1790): Can't lookup mount=24 for fd=2 path=/run/log",
  unsupported_mount: "(00.011177) Error (criu/mount.c:724): FS mnt ./mnt dev 0x2d root / unsupported id 412",
  file_changed:
    "(00.140110)      7: Error (criu/files-reg.c:2175): File data/appendonly.aof has bad size 88 (expect 102)",
  address_missing:
    "(00.152100)      1: Error (criu/sk-inet.c:1085): Can't connect inet socket back: Network is unreachable",
  port_in_use: "(00.002100) Error (criu/util.c:1310): Can't bind page server: Address already in use",
  socket_option: "(00.022100) Error (criu/sockets.c:640): sockets: Can't get 1:16 opt: Operation not supported",
  pipe_max_size: "(00.002100) Error (criu/page-pipe.c:418): page-pipe: tee: -1: Operation not permitted",
  sys_resource: "(00.017422) Error (criu/cr-dump.c:389): Can't get rlimit 0: Operation not permitted",
  dirty_tracking: "(00.002100) Warn  (criu/cr-check.c:824): Dirty tracking is OFF. Memory snapshot will not work.",
  cpu_mismatch: "(00.002100) Error (criu/arch/x86/cpu.c:297): cpu: CPU capabilities do not match run time",
  seccomp: "(00.012100) Error (compel/src/lib/infect.c:412): Suspending seccomp failed: Operation not permitted",
  no_space: "(00.512100) Error (criu/image.c:611): Can't write to pages-1.img: No space left on device",
  page_socket:
    "(00.078418) Error (criu/page-xfer.c:1223): page-xfer: Can't read pagemap from socket: Bad file descriptor",
  criu_missing: 'runc ended with 1: time="..." level=error msg="exec: \\"criu\\": executable file not found in $PATH"',
};

test.each(Object.entries(LINES))("%s", (code, line) => {
  const before = "(00.000121) Version: 4.2.1\n(00.000200) Will dump userns, ns_last_pid and io_uring\n";
  const log = `${before}${line}\n(00.061000) Error (criu/cr-dump.c:2111): Dumping FAILED.\n`;
  const found = diagnose(log);
  expect(found).toMatchObject({ code, line });
});

test("an unknown error is the first one", () => {
  const log = "(00.1) Info\n(00.010000) Error (criu/x.c:1): first\n(00.020000) Error (criu/x.c:2): second\n";
  expect(diagnose(log)).toMatchObject({ code: "unknown", line: "(00.010000) Error (criu/x.c:1): first" });
});

test("what runs that succeed log too is no cause", () => {
  const harmless =
    "(00.001168) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n";
  expect(diagnose(harmless)).toBeNull();
  expect(diagnose(`${harmless}(00.2) Error (criu/x.c:1): cause\n`)).toMatchObject({
    line: "(00.2) Error (criu/x.c:1): cause",
  });
});

test("no error, no diagnosis", () => {
  expect(diagnose("(00.000121) Version: 4.2.1\n(00.9) Restore finished successfully. Tasks resumed.\n")).toBeNull();
  expect(diagnose("")).toBeNull();
});

test("codes are unique, meanings and remedies are said", () => {
  expect(new Set(CAUSES.map((cause) => cause.code)).size).toBe(CAUSES.length);
  for (const { meaning, remedy } of CAUSES) {
    expect(meaning).toMatch(/^([a-z]|CRIU ).*[^.]$/);
    expect(remedy).toMatch(/^[A-Z].*\.$/);
  }
});
