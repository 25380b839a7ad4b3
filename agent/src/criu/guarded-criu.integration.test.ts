import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { runCommand } from "../host/run-command.ts";

let directory: string;
/** Stands for the container's cgroup directory. */
let cgroup: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "guarded-criu-"));
  cgroup = join(directory, "cgroup");
  const build = join(import.meta.dirname, "../../runc/build");
  await runCommand([build, join(directory, "drayage-runc")], { deadlineMs: 60_000 });
  await mkdir(join(directory, "guarded"));
  await symlink("../drayage-dump-guard", join(directory, "guarded/criu"));
  // In the place of CRIU, a shell that does what it is told.
  await mkdir(join(directory, "true"));
  await writeFile(join(directory, "true/criu"), '#!/bin/sh\necho here\neval "$1"\n');
  await chmod(join(directory, "true/criu"), 0o755);
  await mkdir(cgroup);
});
afterAll(() => rm(directory, { recursive: true }));

beforeEach(async () => {
  await writeFile(join(cgroup, "cgroup.freeze"), "0");
  await writeFile(join(cgroup, "cgroup.events"), "populated 1\nfrozen 1\n");
});

/** Returns when what stands for CRIU has begun. */
async function begin(script: string): Promise<ChildProcess> {
  const path = `${join(directory, "guarded")}:${join(directory, "true")}:${process.env["PATH"] ?? ""}`;
  const child = spawn(join(directory, "guarded/criu"), [script], {
    env: { ...process.env, PATH: path, DRAYAGE_DUMP_CGROUP: cgroup },
    stdio: ["pipe", "pipe", "inherit"],
  });
  await once(child.stdout as NonNullable<ChildProcess["stdout"]>, "data");
  return child;
}

const orderOfFreezer = () => readFile(join(cgroup, "cgroup.freeze"), "utf8");

test("a CRIU that is killed has the cgroup frozen by the time its caller hears of it", async () => {
  const criu = await begin("read line");
  criu.kill("SIGKILL");
  expect(await once(criu, "exit")).toEqual([null, "SIGKILL"]);
  expect(await orderOfFreezer()).toBe("1");
});

test("stopped and killed, the same", async () => {
  const criu = await begin("kill -STOP $$; read line");
  criu.kill("SIGCONT");
  criu.kill("SIGSTOP");
  criu.kill("SIGKILL");
  expect(await once(criu, "exit")).toEqual([null, "SIGKILL"]);
  expect(await orderOfFreezer()).toBe("1");
});

test("one that fails, too; signals that it handles reach it", async () => {
  const criu = await begin("trap 'exit 3' TERM; read line");
  criu.kill("SIGTERM");
  expect(await once(criu, "exit")).toEqual([3, null]);
  expect(await orderOfFreezer()).toBe("1");
});

test("one that ends well has done all that there is to do", async () => {
  const criu = await begin("read line");
  criu.stdin?.end("go on\n");
  expect(await once(criu, "exit")).toEqual([0, null]);
  expect(await orderOfFreezer()).toBe("0");
});
