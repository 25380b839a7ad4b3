import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { TermGuard } from "./term-guard.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "term-"));
});
afterEach(() => rm(directory, { recursive: true }));

it("admits rising and equal terms, refuses older ones", async () => {
  const guard = await TermGuard.open(join(directory, "term"));
  await guard.admit(5);
  await guard.admit(5);
  await guard.admit(9);
  await expect(guard.admit(5)).rejects.toMatchObject({ reason: "STALE_TERM" });
});

it("remembers the highest term over a restart", async () => {
  await (await TermGuard.open(join(directory, "term"))).admit(7);
  const again = await TermGuard.open(join(directory, "term"));
  await expect(again.admit(6)).rejects.toMatchObject({ reason: "STALE_TERM" });
  await again.admit(7);
});

it("says what to do about a damaged file", async () => {
  await writeFile(join(directory, "term"), "seven");
  await expect(TermGuard.open(join(directory, "term"))).rejects.toThrow(/holds no term but "seven"/);
});

it("admits no term that could not be written, however often it comes", async () => {
  const path = join(directory, "term");
  const guard = await TermGuard.open(path);
  await mkdir(`${path}.new`);
  await expect(guard.admit(5)).rejects.toThrow();
  await expect(guard.admit(5)).rejects.toThrow();
  await rm(`${path}.new`, { recursive: true });
  await guard.admit(5);
  await expect((await TermGuard.open(path)).admit(4)).rejects.toMatchObject({ reason: "STALE_TERM" });
});
