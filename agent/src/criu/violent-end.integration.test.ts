import { mkdir, mkdtemp, readFile, rm, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCommand } from "../host/run-command.ts";

const SOURCE = join(import.meta.dirname, "testing/violent-end.c");
const COMPILE = ["gcc", "-std=gnu11", "-O2", "-static", "-Wall", "-Wextra", "-Werror"];

let directory: string;
let cgroup: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "violent-end-"));
  await runCommand([join(import.meta.dirname, "../../runc/build"), join(directory, "drayage-runc")], {
    deadlineMs: 60_000,
  });
  await runCommand([...COMPILE, "-o", join(directory, "violent-end"), SOURCE], { deadlineMs: 60_000 });
  const mounts = (await readFile("/proc/mounts", "utf8")).split("\n").map((line) => line.split(" "));
  const hierarchy = mounts.find(([, , type]) => type === "cgroup2")?.[1];
  if (hierarchy === undefined) throw new Error("this host has no cgroup hierarchy of version 2");
  cgroup = join(hierarchy, `violent-end-${process.pid}`);
  await mkdir(cgroup);
});
afterAll(async () => {
  await rmdir(cgroup);
  await rm(directory, { recursive: true });
});

test("threads that a killed CRIU has led to its own code go on where they were, and its daemon ends by itself", async () => {
  const argv = [join(directory, "violent-end"), join(directory, "drayage-dump-guard"), cgroup];
  const { stdout } = await runCommand(argv, { deadlineMs: 60_000 });
  expect(JSON.parse(stdout)).toEqual({
    guarded: 1,
    killed: 1,
    still: 1,
    code: 1,
    daemon: 1,
    // What its leader counts while it is in CRIU's program is the daemon's.
    counting: [0, 1, 1, 1],
    blocked: [0, 0, 0],
  });
});
