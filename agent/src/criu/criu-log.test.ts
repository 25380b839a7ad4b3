import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readCriuLog } from "./criu-log.ts";

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

it("takes a missing one for an empty one", async () => {
  expect(await readCriuLog(join(directory, "missing"))).toBe("");
});
