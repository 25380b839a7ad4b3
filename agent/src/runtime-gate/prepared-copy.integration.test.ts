/** What the kernel says of tasks that somebody traces, and of processes that have ended. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, expect, test } from "vitest";
import { listProcesses, tracedTasks } from "./prepared-copy.ts";

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/** The pid of a Python program, once it has said that it is ready. */
async function python(program: string, ...args: string[]): Promise<number> {
  const child = spawn("python3", ["-c", program, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  for await (const line of createInterface({ input: child.stdout })) if (line === "ready") break;
  return child.pid ?? 0;
}

const TWO_THREADS = `
import threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("ready", flush=True); time.sleep(60)
`;
const SEIZES = `
import ctypes, sys, time
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE = 0x4206
if libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None) < 0: raise OSError(ctypes.get_errno(), "ptrace")
print("ready", flush=True); time.sleep(60)
`;

test("a thread that is traced is found, with its tracer", async () => {
  const pid = await python(TWO_THREADS);
  expect(await tracedTasks(pid)).toEqual([]);
  const thread = (await readdir(`/proc/${pid}/task`)).map(Number).find((task) => task !== pid);
  const tracer = await python(SEIZES, String(thread));
  expect(await tracedTasks(pid)).toEqual([{ task: thread, tracer }]);
});

test("a process that is gone is traced by nobody", async () => {
  expect(await tracedTasks(2 ** 30)).toEqual([]);
});

const HAS_A_ZOMBIE = `
import os, sys, time
child = os.fork()
if child == 0: os._exit(0)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
open(sys.argv[1], "w").write(str(child))
print("ready", flush=True); time.sleep(60)
`;

const ENDED_BUT_FOR_A_THREAD = `
import ctypes, threading, time
def stay():
    time.sleep(0.2)
    print("ready", flush=True); time.sleep(60)
threading.Thread(target=stay, daemon=True).start()
ctypes.CDLL(None).pthread_exit(None)
`;

test("a process that has ended and was not waited for is none; one of which a thread lives is one", async () => {
  const directory = await mkdtemp(join(tmpdir(), "zombie-"));
  try {
    const parent = await python(HAS_A_ZOMBIE, join(directory, "pid"));
    const half = await python(ENDED_BUT_FOR_A_THREAD);
    const zombie = Number(await readFile(join(directory, "pid"), "utf8"));
    const state = async (pid: number) => /^State:\t(\w)/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1];
    expect([await state(zombie), await state(half)]).toEqual(["Z", "Z"]);
    const pids = (await listProcesses()).map(({ pid }) => pid);
    expect(pids).toContain(parent);
    expect(pids).toContain(half);
    expect(pids).not.toContain(zombie);
  } finally {
    await rm(directory, { recursive: true });
  }
});
