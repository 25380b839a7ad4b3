import { mkdtemp, readdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { keepLog } from "./kept-logs.ts";

let directory: string;
beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), "kept-logs-")), "criu-logs");
});
afterEach(() => rm(join(directory, ".."), { recursive: true }));

test("a log is kept whole, for root alone", async () => {
  const path = await keepLog(directory, "0123-dump", "(00.1) Error: so it is\n");
  expect(path).toBe(join(directory, "0123-dump.log"));
  expect(await readFile(path, "utf8")).toBe("(00.1) Error: so it is\n");
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect((await stat(directory)).mode & 0o777).toBe(0o700);
});

test("the newest twenty stay", async () => {
  for (let log = 0; log < 23; log++) {
    const path = await keepLog(directory, `m${log}`, "text");
    // Written within one tick of the file system's clock.
    await utimes(path, log, log);
  }
  const newest = await keepLog(directory, "last", "text");
  const kept = await readdir(directory);
  expect(kept).toHaveLength(20);
  expect(kept).toContain("last.log");
  expect(kept).toContain("m22.log");
  expect(kept).not.toContain("m3.log");
  expect(newest).toContain("last");
});
