import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { waitForFile } from "./wait-for-file.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "wait-for-file-"));
});
afterEach(() => rm(directory, { recursive: true }));

const never = new AbortController().signal;

test("one that is there, and one that comes", async () => {
  const path = join(directory, "file");
  let done = false;
  const waiting = waitForFile(path, never).then(() => {
    done = true;
  });
  await writeFile(join(directory, "other"), "");
  expect(done).toBe(false);
  await writeFile(path, "");
  await waiting;
  await waitForFile(path, never);
});

test("ends with the signal, and at once where there is no directory", async () => {
  const ending = new AbortController();
  const waiting = waitForFile(join(directory, "file"), ending.signal);
  ending.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  await expect(waitForFile(join(directory, "none", "file"), never)).rejects.toThrow("ENOENT");
});
