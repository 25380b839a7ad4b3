import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  findTransitRoom,
  makeTransitDirectory,
  removeTransitDirectory,
  type TransitOptions,
} from "./transit-directory.ts";

const MORE_THAN_ANY_DISK = 2 ** 70;

let base = "";
let options: TransitOptions;
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), "drayage-transit-"));
  options = { runDirectory: base, stateDirectory: base, tmpfsLimitBytes: 2 ** 30 };
});
afterEach(async () => {
  await rm(base, { recursive: true, force: true });
});

test("looks for room and makes nothing; what is made is for root only, and goes again", async () => {
  expect(await findTransitRoom(options, 1)).toMatchObject({ bases: [base, base], base });
  expect(await readdir(base)).toEqual([]);
  const directory = await makeTransitDirectory(options, "m", 1);
  for (const made of [directory, join(base, "images")]) expect((await stat(made)).mode & 0o777).toBe(0o700);
  expect((await findTransitRoom(options, 1)).base).toBe(base);
  await removeTransitDirectory(options, "m");
  expect(await readdir(join(base, "images"))).toEqual([]);
});

test("what is larger than the limit goes to disk, however much tmpfs is free", async () => {
  const small = { ...options, runDirectory: "/nowhere", tmpfsLimitBytes: 1 };
  expect(await findTransitRoom(small, 1)).toMatchObject({ bases: [base], base });
});

test("no room is found before anything is made, and is NO_SPACE after that", async () => {
  expect(await findTransitRoom(options, MORE_THAN_ANY_DISK)).toMatchObject({ bases: [base], base: null });
  await expect(makeTransitDirectory(options, "m", MORE_THAN_ANY_DISK)).rejects.toMatchObject({ reason: "NO_SPACE" });
  expect(await readdir(base)).toEqual([]);
});
