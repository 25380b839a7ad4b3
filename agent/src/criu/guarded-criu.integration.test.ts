import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";
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

/** As runc asks: on a socket that is CRIU's descriptor 3, with the type of the request in it (criu_req in rpc.proto). */
async function ask(requestType: number): Promise<{ criu: ChildProcess; holder: ChildProcess; said: () => string }> {
  const holder = spawn("sleep", ["60"], { stdio: ["pipe", "pipe", "inherit"] });
  const path = `${join(directory, "guarded")}:${join(directory, "true")}:${process.env["PATH"] ?? ""}`;
  const criu = spawn(join(directory, "guarded/criu"), ["swrk", "3"], {
    env: { ...process.env, PATH: path, DRAYAGE_DUMP_CGROUP: cgroup, DRAYAGE_WORD_FROM: String(holder.pid) },
    stdio: ["ignore", "pipe", "ignore", "pipe"],
  });
  const request = criu.stdio[3] as Writable;
  request.on("error", () => undefined);
  request.write(Buffer.from([0x08, requestType]));
  let said = "";
  criu.stdout?.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  return { criu, holder, said: () => said };
}

test("a dump waits for the word of the process that it was told of", async () => {
  const { criu, holder, said } = await ask(1);
  try {
    const [ready] = await once(holder.stdout as NonNullable<ChildProcess["stdout"]>, "data");
    expect(String(ready)).toBe("ready\n");
    expect(said()).toBe("");
    holder.stdin?.write("go\n");
    await once(criu, "close");
    expect(said()).toBe("here\n");
  } finally {
    holder.kill();
  }
});

test("without the word it ends, and nothing has been done", async () => {
  const { criu, holder, said } = await ask(1);
  try {
    await once(holder.stdout as NonNullable<ChildProcess["stdout"]>, "data");
    holder.stdin?.end();
    expect(await once(criu, "close")).toEqual([125, null]);
    expect(said()).toBe("");
    expect(await orderOfFreezer()).toBe("0");
  } finally {
    holder.kill();
  }
});

test("what is no dump waits for nothing", async () => {
  const { criu, holder, said } = await ask(10);
  try {
    await once(criu, "close");
    expect(said()).toBe("here\n");
  } finally {
    holder.kill();
  }
});
