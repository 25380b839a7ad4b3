import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startTimeOf } from "./claim.ts";
import { type CopyFacts, copyStands, faultOfCopy } from "./prepared-copy.ts";
import type { Copy, Released, SessionState } from "./session-state.ts";

const HOST = "pid:[1]";
const OWN = "pid:[2]";
const process = (pid: number, parentPid: number, pidNamespace: string) => ({ pid, parentPid, pidNamespace });
const GOOD: CopyFacts = {
  initPid: 100,
  frozen: true,
  inside: [100, 101, 102],
  traced: [],
  processes: [
    process(1, 0, HOST),
    process(50, 1, HOST),
    process(100, 50, OWN),
    process(101, 100, OWN),
    process(102, 101, "pid:[3]"),
  ],
  hostPidNamespace: HOST,
};

test("a whole frozen copy is in order", () => {
  expect(faultOfCopy(GOOD)).toBeNull();
});

test("a zombie is not among the processes and may be named by the cgroup", () => {
  expect(faultOfCopy({ ...GOOD, inside: [...GOOD.inside, 103] })).toBeNull();
});

test.each<[string, Partial<CopyFacts>, RegExp]>([
  ["not frozen", { frozen: false }, /not frozen/],
  ["CRIU still holds a task", { traced: [{ task: 105, tracer: 50 }] }, /process 50 still traces its task 105/],
  ["init elsewhere", { inside: [101, 102] }, /init \(100\) is not in/],
  ["init gone", { processes: GOOD.processes.filter(({ pid }) => pid !== 100) }, /init is gone/],
  ["a task outside", { inside: [100, 102] }, /process 101 of the container is outside/],
  ["a task of a nested namespace outside", { inside: [100, 101] }, /process 102 of the container is outside/],
  ["CRIU inside", { inside: [50, ...GOOD.inside] }, /process 50 of the host is in/],
])("%s", (_, change, fault) => {
  expect(faultOfCopy({ ...GOOD, ...change })).toMatch(fault);
});

test("a prepared copy stands while its init and Docker's start of it live; one that is committed stands for good", async () => {
  const cgroup = await mkdtemp(join(tmpdir(), "copy-"));
  try {
    const restore: Released = {
      bundle: "/b",
      runcRoot: "/r",
      imageDirectory: "/i",
      workDirectory: "/w",
      cgroup,
      claim: "1-2",
      argv: [],
    };
    const own = globalThis.process.pid;
    const alive = `${own}-${startTimeOf(await readFile("/proc/self/stat", "utf8"))}`;
    const copy: Copy = { initPid: 100, cgroup, tasks: 1, preparedAtMs: 0, startClaim: alive };
    const prepared = (facts: Partial<Copy> = {}): SessionState => ({
      name: "prepared",
      restore,
      copy: { ...copy, ...facts },
    });
    await writeFile(join(cgroup, "cgroup.procs"), "100\n101\n");
    expect(await copyStands(prepared())).toBe(true);
    expect(await copyStands(prepared({ startClaim: `${own}-1` }))).toBe(false);
    expect(await copyStands(prepared({ initPid: 102 }))).toBe(false);
    expect(await copyStands({ name: "released", restore })).toBe(false);
    expect(await copyStands({ name: "failed", reason: "x", restore, copy })).toBe(false);
    expect(await copyStands({ name: "committing", restore, copy: { ...copy, initPid: 102 } })).toBe(true);
  } finally {
    await rm(cgroup, { recursive: true });
  }
});
