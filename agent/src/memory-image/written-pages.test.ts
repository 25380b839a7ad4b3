import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PAGE_BYTES } from "./page-range.ts";
import { REPEAT_REACH_PAGES, WrittenPages } from "./written-pages.ts";

let root = "";
beforeEach(async () => {
  root = await mkdtemp(join("/dev/shm", "written-pages-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

test("pages are found by their numbers, wherever they lie", async () => {
  const [first, second] = [join(root, "first"), join(root, "second")];
  await writeFile(first, Buffer.concat([1, 2, 3, 4].map((letter) => Buffer.alloc(PAGE_BYTES, letter))));
  await writeFile(second, Buffer.concat([5, 6].map((letter) => Buffer.alloc(PAGE_BYTES, letter))));
  const written = new WrittenPages();
  written.add(second, PAGE_BYTES, 1);
  written.add(first, PAGE_BYTES, 1);
  written.add(first, 2 * PAGE_BYTES, 2);
  written.add(second, 0, 1);
  written.add(first, 0, 1);
  expect(written.pages).toBe(6);
  const all = Buffer.alloc(6 * PAGE_BYTES);
  await written.read(0, all);
  const letters = Array.from({ length: 6 }, (_, page) => all[page * PAGE_BYTES]);
  expect(letters).toEqual([6, 2, 3, 4, 5, 1]);
  await expect(written.read(5, Buffer.alloc(2 * PAGE_BYTES))).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
  await written.close();
});

test("what is in reach is found, even if no two pages lie together, and what is remembered is bounded", async () => {
  const path = join(root, "pages");
  await writeFile(path, Buffer.concat([1, 2].map((letter) => Buffer.alloc(PAGE_BYTES, letter))));
  const written = new WrittenPages();
  const all = 4 * REPEAT_REACH_PAGES;
  for (let page = 0; page < all; page++) written.add(path, page % 4 === 0 ? PAGE_BYTES : 0, 1);
  const space = Buffer.alloc(PAGE_BYTES);
  for (let page = all - REPEAT_REACH_PAGES; page < all; page += 9973) {
    await written.read(page, space);
    expect(space[0]).toBe(page % 4 === 0 ? 2 : 1);
  }
  await expect(written.read(0, space)).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
  await written.close();
});
