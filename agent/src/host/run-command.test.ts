import { expect, test } from "vitest";
import { runCommand } from "./run-command.ts";

test("gives output and code", async () => {
  const result = await runCommand(["sh", "-c", "cat; echo oops >&2; exit 3"], { stdin: "in", okCodes: [3] });
  expect(result).toEqual({ code: 3, stdout: "in", stderr: "oops\n" });
});

test("an unexpected code is an error that quotes what was said", async () => {
  await expect(runCommand(["sh", "-c", "echo no such thing >&2; exit 2"])).rejects.toMatchObject({
    reason: "COMMAND_FAILED",
    message: "sh ended with 2: no such thing",
  });
});

test("a missing program is an error", async () => {
  await expect(runCommand(["/nonexistent/program"])).rejects.toMatchObject({ reason: "COMMAND_FAILED" });
});

test("deadline and signal end it", async () => {
  await expect(runCommand(["sleep", "60"], { deadlineMs: 20 })).rejects.toMatchObject({ reason: "TIMEOUT" });
  const controller = new AbortController();
  const running = runCommand(["sleep", "60"], { signal: controller.signal });
  controller.abort();
  await expect(running).rejects.toMatchObject({ reason: "CANCELLED" });
});

test("keeps the beginning of stdout and the end of stderr", async () => {
  const script = "head -c 3000000 /dev/zero | tr '\\0' a; head -c 300000 /dev/zero | tr '\\0' b >&2; echo end >&2";
  const result = await runCommand(["sh", "-c", script]);
  expect(result.stdout.length).toBe(1 << 20);
  expect(result.stderr.length).toBe(64 << 10);
  expect(result.stderr.endsWith("end\n")).toBe(true);
});
