import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { findInCriuLog, readCriuLog } from "./criu-log.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "criu-log-"));
});
afterAll(() => rm(directory, { recursive: true }));

it("reads a short log whole", async () => {
  await writeFile(join(directory, "short"), "one\ntwo\n");
  expect(await readCriuLog(join(directory, "short"))).toBe("one\ntwo\n");
});

it("reads a long one's beginning and end", async () => {
  await writeFile(join(directory, "long"), `first\n${"middle\n".repeat(1 << 20)}last\n`);
  const log = await readCriuLog(join(directory, "long"));
  expect(log.startsWith("first\n")).toBe(true);
  expect(log.endsWith("last\n")).toBe(true);
  expect(log.length).toBe((2 << 20) + 1);
});

it("finds a line wherever it is in a long one, the first of several", async () => {
  const path = join(directory, "found");
  const line = "(00.462956)      1: Error (criu/pagemap.c:256): Can't read mapping page 0";
  for (const before of [0, 1, (1 << 20) - 30, (1 << 20) + 7, 3 << 20]) {
    await writeFile(
      path,
      `${"x".repeat(69)}\n`.repeat(before / 70) + `${line}\n${"after\n".repeat(1 << 19)}Error: later\n`,
    );
    expect(await findInCriuLog(path, /Error/)).toBe(line);
    expect(await findInCriuLog(path, /nothing of the kind/)).toBeNull();
  }
  await writeFile(path, `one\n${line}`);
  expect(await findInCriuLog(path, /Error/)).toBe(line);
});

it("takes a missing one for an empty one", async () => {
  expect(await findInCriuLog(join(directory, "missing"), /./)).toBeNull();
  expect(await readCriuLog(join(directory, "missing"))).toBe("");
});
