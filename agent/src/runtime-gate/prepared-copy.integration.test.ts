/** What the kernel says of tasks that somebody traces. */
import { type ChildProcess, spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { afterEach, expect, test } from "vitest";
import { tracedTasks } from "./prepared-copy.ts";

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
