/** What the kernel shows of processes that hold the things a dump cannot carry. Needs root, python3 and ss. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, expect, test } from "vitest";
import { resolveWatches } from "../host/file-watches.ts";
import { mountsOf } from "../host/mountinfo.ts";
import { inNetworkNamespace } from "../host/netns.ts";
import { runCommand } from "../host/run-command.ts";
import { writtenPaths } from "../layer/written-paths.ts";
import { runChecks } from "./check.ts";
import { goodSource } from "./checks/fact-fixtures.ts";
import { PROCESS_CHECKS } from "./checks/processes.ts";
import { processesOf } from "./process-facts.ts";
import { parseMptcpSockets, parseUnixSockets } from "./socket-tables.ts";

/** Its own pid and network namespace; standard output is a unix socket to this process. */
const PROGRAM = `
import ctypes, fcntl, mmap, os, socket, sys, tempfile
libc = ctypes.CDLL(None)
mapped = tempfile.NamedTemporaryFile(prefix="drayage mapped ")
mapped.write(b"x" * 4096); mapped.flush()
shared = mmap.mmap(mapped.fileno(), 4096)
name = mapped.name
readable = os.open(name, os.O_RDONLY)
writable = os.dup2(readable, mapped.fileno())
locked = open(tempfile.mktemp(prefix="drayage locked "), "w")
fcntl.flock(locked, fcntl.LOCK_EX)
watch = libc.inotify_init()
libc.inotify_add_watch(watch, b"/etc", 0x100)
libc.inotify_add_watch(watch, mapped.name.encode(), 2)
libc.inotify_add_watch(watch, locked.name.encode(), 2)
params = ctypes.create_string_buffer(120)
ring = libc.syscall(425, 4, params)
pair = socket.socketpair()
outside = socket.socket(socket.AF_UNIX)
outside.connect(sys.argv[1])
try:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    listener.bind(("0.0.0.0", 8080)); listener.listen()
    mptcp = 1
except OSError:
    mptcp = 0
print(name, locked.name, ring, mptcp, sep="|", flush=True)
sys.stdin.read()
os.unlink(locked.name)
`;

let child: ChildProcess | undefined;
let server: Server | undefined;
afterEach(async () => {
  server?.close();
  if (child === undefined) return;
  const ended = once(child, "exit");
  child.stdin?.end();
  await ended;
});

test("locks, watches, rings, sockets and written files are seen", async () => {
  const service = join(tmpdir(), `drayage-service-${process.pid}.sock`);
  server = createServer((socket) => socket.resume()).listen(service);
  await once(server, "listening");
  const argv = ["--pid", "--net", "--fork", "python3", "-c", PROGRAM, service];
  child = spawn("unshare", argv, { stdio: ["pipe", "pipe", "inherit"] });
  const { stdout } = child;
  if (stdout === null || child.pid === undefined) throw new Error("no stdout");
  const [line] = (await once(createInterface({ input: stdout }), "line")) as [string];
  const [mapped = "", locked = "", ring, mptcp] = line.split("|");
  const pid = Number((await readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8")).trim());

  const processes = await processesOf(pid);
  expect(processes).toHaveLength(1);
  const [facts] = processes;
  expect(facts).toMatchObject({ pid, name: "python3", usesIoUring: Number(ring) >= 0 });
  expect(facts?.locks).toEqual([{ kind: "FLOCK", path: locked, mountId: expect.any(Number) }]);
  const mounts = await mountsOf(pid);
  const watches = facts?.watches ?? [];
  expect(watches).toHaveLength(3);
  // As if only these were mounted: the whole of this host's file system would take its time.
  const [mount = expect.fail()] = mounts;
  const devices = [...new Set(watches.map(({ device }) => device))];
  const here = devices.flatMap((device) => ["/etc", tmpdir()].map((mountPoint) => ({ ...mount, device, mountPoint })));
  const paths = ["/etc", locked, mapped].sort();
  expect(await resolveWatches(pid, watches, here)).toEqual({ paths, unresolved: [] });
  const nowhere = { device: devices[0] ?? "", inode: "18446744073709551615" };
  expect((await resolveWatches(pid, [nowhere], here)).unresolved).toEqual([nowhere]);

  const ss = async (option: string) =>
    (await runCommand(inNetworkNamespace(pid, ["ss", "-H", "-a", "-n", option]))).stdout;
  const unixSockets = parseUnixSockets(await ss("-x"));
  const mptcpSockets = parseMptcpSockets(await ss("-M"));
  const codes = runChecks(PROCESS_CHECKS, {
    ...goodSource,
    mountTable: mounts,
    processes,
    unixSockets,
    mptcpSockets,
  }).map(({ code }) => code);
  expect(codes.includes("io-uring")).toBe(Number(ring) >= 0);
  expect(codes.includes("mptcp")).toBe(mptcp === "1");
  expect(codes).not.toContain("inotify-without-path");
  expect(codes.filter((code) => code === "unix-socket-outside")).toHaveLength(1);
  expect(codes).not.toContain("lock-on-shared-mount");

  const written = await writtenPaths(pid);
  expect(written).toContain(locked.slice(1));
  expect(written).toContain(mapped.slice(1)); // by its mapping alone: the descriptor is for reading
});
