import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  destinationDemand,
  findTransitRoom,
  makeTransitDirectory,
  removeTransitDirectory,
  type TransitOptions,
} from "./transit-directory.ts";

const LITTLE = { memoryBytes: 1, besideBytes: 0 };
const MORE_THAN_ANY_HOST_HAS = 2 ** 70;
const TOO_MUCH = { memoryBytes: MORE_THAN_ANY_HOST_HAS, besideBytes: 0 };

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
  expect(await findTransitRoom(options, LITTLE)).toMatchObject({ bases: [base, base], base });
  expect(await readdir(base)).toEqual([]);
  const directory = await makeTransitDirectory(options, "m", LITTLE);
  for (const made of [directory, join(base, "images")]) expect((await stat(made)).mode & 0o777).toBe(0o700);
  expect((await findTransitRoom(options, LITTLE)).base).toBe(base);
  await removeTransitDirectory(options, "m");
  expect(await readdir(join(base, "images"))).toEqual([]);
});

test("what is larger than the limit goes to disk, however much tmpfs is free", async () => {
  const small = { ...options, runDirectory: "/nowhere", tmpfsLimitBytes: 1 };
  expect(await findTransitRoom(small, LITTLE)).toMatchObject({ bases: [base], base });
});

test("tmpfs is not for images that would leave no memory to the copy", async () => {
  const elsewhere = { ...options, runDirectory: "/nowhere" };
  const crowded = { ...LITTLE, besideBytes: MORE_THAN_ANY_HOST_HAS };
  expect(await findTransitRoom(elsewhere, crowded)).toMatchObject({ bases: [base], base });
  const full = destinationDemand({ memoryBytes: 1, tmpfsBytes: MORE_THAN_ANY_HOST_HAS });
  expect(await findTransitRoom(elsewhere, full)).toMatchObject({ bases: [base], base });
  await expect(findTransitRoom(elsewhere, destinationDemand({ memoryBytes: 1, tmpfsBytes: 0 }))).rejects.toThrow(
    "ENOENT",
  );
});

test("no room is found before anything is made, and is NO_SPACE after that", async () => {
  expect(await findTransitRoom(options, TOO_MUCH)).toMatchObject({ bases: [base], base: null });
  await expect(makeTransitDirectory(options, "m", TOO_MUCH)).rejects.toMatchObject({ reason: "NO_SPACE" });
  expect(await readdir(base)).toEqual([]);
});
