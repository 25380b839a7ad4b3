import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PagesPlace } from "./pages-place.ts";
import type { TransitOptions } from "./transit-directory.ts";

const MEBIBYTE = 2 ** 20;
const MEMORY_BYTES = 10 * MEBIBYTE;
/** For one image of all of the memory, with what images take beside it. */
const ROOM_FOR_ONE = 80 * MEBIBYTE;

let base = "";
let transit: TransitOptions;
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), "drayage-pages-"));
  transit = { runDirectory: join(base, "run"), stateDirectory: join(base, "state"), tmpfsLimitBytes: ROOM_FOR_ONE };
  for (const directory of [transit.runDirectory, transit.stateDirectory])
    await mkdir(join(directory, "images"), { recursive: true });
});
afterEach(() => rm(base, { recursive: true }));

async function begin(below: string): Promise<{ place: PagesPlace; imageDirectory: string }> {
  const imageDirectory = join(below, "images", "m");
  await mkdir(imageDirectory);
  const place = new PagesPlace({ transit, imageDirectory, migrationId: "m", memoryBytes: MEMORY_BYTES });
  return { place, imageDirectory };
}

test("the first round lies where its room was found; a later one that might not fit beside it goes to disk", async () => {
  const { place, imageDirectory } = await begin(transit.runDirectory);
  const first = `${imageDirectory}-round-0`;
  await mkdir(first);
  expect(await place.next(first, 0)).toBeNull();
  await writeFile(join(first, "pages-1.img"), Buffer.alloc(MEMORY_BYTES, 1));
  await place.count();
  const second = `${imageDirectory}-round-1`;
  await mkdir(second);
  const onDisk = await place.next(second, 0);
  expect(onDisk).toBe(join(transit.stateDirectory, "images", "m-pages", "m-round-1"));
  expect(await readdir(onDisk ?? "")).toEqual([]);
  await place.remove();
  expect(await readdir(join(transit.stateDirectory, "images"))).toEqual([]);
});

test("where little can come, it stays beside its page maps", async () => {
  const { place, imageDirectory } = await begin(transit.runDirectory);
  const round = `${imageDirectory}-round-0`;
  await mkdir(round);
  await writeFile(join(round, "pages-1.img"), Buffer.alloc(MEMORY_BYTES, 1));
  await place.count();
  expect(await place.next(imageDirectory, 0, MEBIBYTE)).toBeNull();
});

test("of a round that has nearly all of the memory already, the rest fits", async () => {
  const { place, imageDirectory } = await begin(transit.runDirectory);
  const round = `${imageDirectory}-round-0`;
  await mkdir(round);
  expect(await place.next(round, 0)).toBeNull();
  expect(await place.next(round, MEMORY_BYTES - 4096)).toBeNull();
});

test("what is on disk from the beginning stays together", async () => {
  transit = { ...transit, tmpfsLimitBytes: 0 };
  const { place, imageDirectory } = await begin(transit.stateDirectory);
  expect(await place.next(imageDirectory, 0)).toBeNull();
});

test("where no room is to be found, it stays where the others are", async () => {
  transit = { ...transit, tmpfsLimitBytes: 0 };
  const imageDirectory = join(transit.runDirectory, "images", "m");
  await mkdir(imageDirectory);
  const place = new PagesPlace({ transit, imageDirectory, migrationId: "m", memoryBytes: 2 ** 60 });
  expect(await place.next(imageDirectory, 0)).toBeNull();
});
