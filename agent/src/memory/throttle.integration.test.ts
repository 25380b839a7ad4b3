import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freezeCgroup, isFrozen, killCgroup, thawCgroup, whileFrozen } from "../host/cgroup.ts";
import { Throttle } from "./throttle.ts";

const LIMIT = { deadlineMs: 5000 };
/** Several of the throttle's turns. */
const LONG_MS = 350;

let cgroup: string;
beforeEach(async () => {
  const mounts = (await readFile("/proc/mounts", "utf8")).split("\n").map((line) => line.split(" "));
  const hierarchy = mounts.find(([, , type]) => type === "cgroup2")?.[1];
  if (hierarchy === undefined) throw new Error("this host has no cgroup hierarchy of version 2");
  cgroup = join(hierarchy, `throttle-${process.pid}`);
  await mkdir(cgroup);
  const process_ = spawn("sleep", ["1000"], { stdio: "ignore" });
  await once(process_, "spawn");
  await writeFile(join(cgroup, "cgroup.procs"), String(process_.pid));
});
afterEach(async () => {
  await killCgroup(cgroup, LIMIT);
  await expect
    .poll(() =>
      rmdir(cgroup).then(
        () => true,
        () => false,
      ),
    )
    .toBe(true);
});

test("whoever needs the container to stand still has it so, however it is slowed down", async () => {
  const throttle = new Throttle(cgroup, new AbortController().signal);
  throttle.tighten();
  try {
    const seen = await throttle.still(async () => {
      const states: boolean[] = [];
      for (const endsAt = performance.now() + LONG_MS; performance.now() < endsAt; await pause(1)) {
        states.push(await isFrozen(cgroup));
      }
      return states;
    });
    expect(seen.length).toBeGreaterThan(10);
    expect(seen).not.toContain(false);
    // And goes on slowing it down.
    await expect.poll(() => isFrozen(cgroup), { timeout: LIMIT.deadlineMs }).toBe(true);
    await expect.poll(() => isFrozen(cgroup), { timeout: LIMIT.deadlineMs }).toBe(false);
  } finally {
    await throttle.release();
  }
  expect(await isFrozen(cgroup)).toBe(false);
});

test("it runs on after a body that fails; what somebody else has frozen stays so", async () => {
  await expect(whileFrozen(cgroup, LIMIT, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await isFrozen(cgroup)).toBe(false);
  await freezeCgroup(cgroup, LIMIT);
  expect(await whileFrozen(cgroup, LIMIT, () => isFrozen(cgroup))).toBe(true);
  expect(await isFrozen(cgroup)).toBe(true);
  await thawCgroup(cgroup, LIMIT);
});
