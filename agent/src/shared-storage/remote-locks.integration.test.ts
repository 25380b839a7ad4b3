/** Asking a file system for its locks, here a local one, which answers as a FUSE server does. Needs root, gcc, python3. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { mountsOf } from "../host/mountinfo.ts";
import { runCommand } from "../host/run-command.ts";
import { remotelyLocked } from "./remote-locks.ts";
import { type SharedFile, sharedFilesOf } from "./shared-files.ts";

/** Alone in a pid namespace: a file locked for reading, one with a lock that is released at a line on stdin, one mapped. */
const HOLDER = `
import ctypes, fcntl, os, sys
os.chdir(sys.argv[1])
def opened(name, flags=os.O_RDWR):
    return os.open(name, flags | os.O_CREAT, 0o600)
free, read, written, mapped = opened("free", os.O_RDONLY), opened("read"), opened("written"), opened("mapped")
fcntl.lockf(read, fcntl.LOCK_SH)
fcntl.lockf(written, fcntl.LOCK_EX)
os.ftruncate(mapped, 4096)
ctypes.CDLL(None).mmap(None, 4096, 3, 1, mapped, 0)
os.close(mapped)
gone = opened("gone")
os.unlink("gone")
os.mkfifo("pipe")
pipe = opened("pipe")
for _ in (1, 2):
    print("ready", flush=True)
    sys.stdin.readline()
    fcntl.lockf(written, fcntl.LOCK_UN)
`;

let directory: string;
let holder: ChildProcess;
beforeAll(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), "remote-locks-")));
  await runCommand([join(import.meta.dirname, "../../runc/build"), join(directory, "drayage-runc")], {
    deadlineMs: 60_000,
  });
  holder = spawn("unshare", ["--pid", "--fork", "--kill-child", "python3", "-c", HOLDER, directory], {
    stdio: ["pipe", "pipe", "inherit"],
  });
});
afterAll(async () => {
  const ended = once(holder, "exit");
  holder.kill("SIGKILL");
  await ended;
  await rm(directory, { recursive: true });
});

test("files that are open or mapped, and those of them on which a lock is held", async () => {
  const { stdin, stdout, pid: unshare } = holder;
  if (stdin === null || stdout === null) throw new Error("no pipes");
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  await lines.next();
  const pid = Number((await readFile(`/proc/${unshare}/task/${unshare}/children`, "utf8")).trim());
  const { stdout: mountPoint } = await runCommand(["stat", "--format=%m", directory]);
  const mounts = (await mountsOf(pid)).filter((mount) => mount.mountPoint === mountPoint.trim());
  const files = (await sharedFilesOf(pid, mounts)).map((file) => ({ ...file, fileSystem: "fuse.glusterfs" }));
  const names = (some: readonly SharedFile[]) =>
    some
      .filter(({ path }) => path.startsWith(directory))
      .map(({ path, fd, writable }) => [path.slice(directory.length + 1), fd !== undefined, writable].join(" "))
      .sort();
  expect(names(files)).toEqual(["free true false", "mapped false true", "read true true", "written true true"]);
  const locked = () => remotelyLocked(files, undefined, join(directory, "drayage-remote-locks"));
  const both = ["read true true", "written true true"];
  expect(names(await locked())).toEqual(both);
  // To ask has released nothing.
  expect(names(await locked())).toEqual(both);
  const written = files.filter(({ writable }) => writable).map(({ link }) => link);
  await runCommand(["sync", "--", ...written]);
  stdin.write("\n");
  await lines.next();
  expect(names(await locked())).toEqual(["read true true"]);
});
