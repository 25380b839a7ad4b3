/** The program as it is run: exit codes, and what goes where. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "drayage-admin-"));
});
afterAll(() => rm(directory, { recursive: true }));

interface Run {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

function drayage(...argv: string[]): Promise<Run> {
  const main = join(import.meta.dirname, "main.ts");
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...argv], (error, stdout, stderr) => {
      resolve({ exitCode: typeof error?.code === "number" ? error.code : 0, stdout, stderr });
    });
  });
}

test("work done exits 0 and says so on standard output", async () => {
  const run = await drayage("pki", "init", "--cluster", "lab", "--dir", directory);
  expect(run).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^made the CA of lab/), stderr: "" });
  const shown = await drayage("pki", "show", "--dir", directory, "--json");
  expect(JSON.parse(shown.stdout)).toMatchObject([{ file: "ca.crt", role: "ca", cluster: "lab" }]);
});

test("what is refused exits 4, with the remedy on standard error", async () => {
  const run = await drayage("pki", "init", "--cluster", "other", "--dir", directory);
  expect(run).toMatchObject({
    exitCode: 4,
    stdout: "",
    stderr: expect.stringMatching(/^drayage: .*\n {2}remedy: .*--force/),
  });
});

test("wrong usage exits 2", async () => {
  for (const argv of [["pki", "init"], ["pki", "issue", "--role", "king", "--name", "n1"], ["nonsense"]]) {
    expect(await drayage(...argv)).toMatchObject({ exitCode: 2, stdout: "" });
  }
});

test("a coordinator that does not answer exits 5, a text that is no token 1", async () => {
  const token = `DRAY1-${"a".repeat(43)}-${"b".repeat(32)}`;
  const join = (text: string) =>
    drayage("join", "--coordinator", "127.0.0.1:1", "--token", text, "--dir", `${directory}/n1`);
  expect(await join(token)).toMatchObject({
    exitCode: 5,
    stderr: expect.stringContaining("cannot reach a coordinator"),
  });
  expect(await join("x")).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("drayage pki token") });
});
