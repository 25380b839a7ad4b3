import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MemoryImageWriter } from "../memory-image/memory-image-writer.ts";
import { LAZY, PAGE_BYTES, PRESENT } from "../memory-image/page-range.ts";
import { streamedImages } from "./streamed-images.ts";

const LARGE_PAGES = 1100;
const SHARED = { kind: "shared", id: 7 } as const;

let directory = "";

/** As a lazy dump leaves it: little of a process, and much of a piece of shared memory. */
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "streamed-images-"));
  const writer = await MemoryImageWriter.create(directory);
  await writer.open({ kind: "task", id: 1 });
  writer.entry({ vaddr: 0x1000, pages: 2, flags: PRESENT });
  writer.data(Buffer.alloc(2 * PAGE_BYTES, 1));
  writer.entry({ vaddr: 0x8000, pages: 1000, flags: LAZY });
  await writer.open(SHARED);
  writer.entry({ vaddr: 0, pages: LARGE_PAGES, flags: PRESENT });
  writer.data(Buffer.alloc(LARGE_PAGES * PAGE_BYTES, 2));
  await writer.close();
  await writeFile(join(directory, "core-1.img"), "core");
});
afterEach(() => rm(directory, { recursive: true }));

const FILES = ["pagemap-1.img", "pages-65537.img", "pagemap-shmem-7.img", "pages-65538.img", "core-1.img"];

test.each([
  { postCopy: false, images: null, streamed: FILES.slice(0, 4) },
  { postCopy: true, images: [SHARED], streamed: FILES.slice(2, 4) },
])("post-copy $postCopy: as a stream $streamed", async ({ postCopy, images, streamed }) => {
  const some = await streamedImages(directory, postCopy);
  expect(some.images).toEqual(images);
  expect(FILES.filter((name) => some.includes(name))).toEqual(streamed);
  expect(some.mostBytes).toBe(images === null ? undefined : LARGE_PAGES * PAGE_BYTES);
});
