import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { DrayError } from "../errors/dray-error.ts";
import { VERSION } from "../observe/version.ts";

const SAMPLE = fileURLToPath(new URL("./test-support/sample-daemon.ts", import.meta.url));

function start(...args: string[]): ChildProcess & { stdout: NodeJS.ReadableStream; stderr: NodeJS.ReadableStream } {
  const child = spawn(process.execPath, [SAMPLE, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  return child as ReturnType<typeof start>;
}

async function outcome(...args: string[]) {
  const child = start(...args);
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code, stdout, stderr };
}

/**
 * Sends a signal at each message named, and gives all messages, sorted, and the exit code. Sorted, since the log is
 * written asynchronously, and the last line may overtake the one before when the process ends.
 */
async function play(fate: string, signals: Readonly<Record<string, NodeJS.Signals>>) {
  const child = start(fate);
  const messages: string[] = [];
  const exit = once(child, "exit");
  for await (const line of createInterface(child.stdout)) {
    const { msg } = JSON.parse(line) as { msg: string };
    messages.push(msg);
    const signal = signals[msg];
    if (signal !== undefined) child.kill(signal);
  }
  return { messages: messages.sort(), code: (await exit)[0] };
}

test("says its version, and whether a configuration is valid", async () => {
  expect(await outcome("", "--version")).toEqual({ code: 0, stdout: `drayage-sample ${VERSION}\n`, stderr: "" });
  expect(await outcome("", "--check-config")).toMatchObject({ code: 0, stdout: "/etc/sample.yaml is valid\n" });
  expect(await outcome("", "--check-config", "--config", "/x")).toMatchObject({ code: 0, stdout: "/x is valid\n" });
});

test("a failure is told with its remedy, and its reason's exit code", async () => {
  const { exitCode } = new DrayError("BAD_CONFIG", "").mapping;
  expect(await outcome("", "--config", "/missing")).toEqual({
    code: exitCode,
    stdout: "",
    stderr: "drayage-sample: /missing does not exist\n  remedy: Write it.\n",
  });
});

test("a flag that it does not know is a bad request, and --help names those it knows", async () => {
  const { exitCode } = new DrayError("BAD_REQUEST", "").mapping;
  const { code, stdout, stderr } = await outcome("", "--confg", "/x");
  expect({ code, stdout }).toEqual({ code: exitCode, stdout: "" });
  expect(stderr).toContain("--confg");
  expect(stderr).toContain("remedy: See drayage-sample --help.");
  expect(await outcome("", "--help")).toMatchObject({ code: 0, stdout: expect.stringContaining("--check-config") });
});

test("reads its log level anew on SIGHUP, and ends in good order on SIGTERM", async () => {
  expect(await play("", { started: "SIGHUP", "log level": "SIGTERM" })).toEqual({
    messages: ["log level", "ready", "started", "stopped", "stopping"],
    code: 0,
  });
});

test("may be stopped before it is ready", async () => {
  expect(await play("never-ready", { started: "SIGINT" })).toEqual({
    messages: ["started", "stopped", "stopping"],
    code: 0,
  });
});

test("ends when it can go on no more", async () => {
  const { code, stderr } = await outcome("fails");
  expect(stderr).toContain("drayage-sample: no etcd\n");
  expect(code).toBe(new DrayError("ETCD_UNAVAILABLE", "").mapping.exitCode);
});
