import { expect, test } from "vitest";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import { addPages } from "./add-pages.ts";
import { PageBatch } from "./page-batch.ts";
import { BATCH_PAGES } from "./page-window.ts";

const BASE = 0x7f0000000000;

test("what can be read is added, and told whether that is all that was asked for", () => {
  const batch = new PageBatch(new MemoryStreamEncoder(), null);
  const readable = (pages: number) => ({
    written: null,
    read: (_: number, space: Buffer) => Math.min(space.length, pages * PAGE_BYTES),
  });
  expect([...batch.open({ kind: "task", id: 1 })]).toEqual([]);
  expect(addPages(batch, BASE, 10, readable(10))).toEqual({ pages: 10, isCut: false });
  expect(addPages(batch, BASE + 10 * PAGE_BYTES, 10, readable(3))).toEqual({ pages: 3, isCut: true });
  expect(addPages(batch, BASE + 13 * PAGE_BYTES, 10, readable(0))).toEqual({ pages: 0, isCut: true });
  expect(addPages(batch, BASE + 14 * PAGE_BYTES, 1000, readable(1000))).toEqual({
    pages: BATCH_PAGES - 13,
    isCut: false,
  });
  expect(batch.isFull).toBe(true);
  batch.judge();
  expect(batch).toMatchObject({ seenPages: BATCH_PAGES, sentPages: BATCH_PAGES });
});
