import { mkdtemp, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PageBatch } from "../memory/page-batch.ts";
import { type MemoryImage, MemoryImageReader } from "../memory-image/memory-image-reader.ts";
import { MemoryImageWriter } from "../memory-image/memory-image-writer.ts";
import { type ImageId, PAGE_BYTES, PARENT, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import { takePages } from "./take-pages.ts";

const TASK: ImageId = { kind: "task", id: 7 };
/** What the images have at each of the first pages. */
const HERE = [101, 102, 103, 104];

let directory = "";
let image: MemoryImage;
beforeEach(async () => {
  directory = await mkdtemp("/dev/shm/take-pages-");
  const writer = await MemoryImageWriter.create(directory);
  await writer.open(TASK);
  writer.entry({ vaddr: 0, pages: HERE.length, flags: PRESENT });
  for (const letter of HERE) writer.data(Buffer.alloc(PAGE_BYTES, letter));
  await writer.close();
  image = await (await MemoryImageReader.open(directory)).load(TASK);
});
afterEach(async () => {
  await image.close();
  await rm(directory, { recursive: true });
});

/** Pages from this number on as one chunk of a stream, as a source sends them: their letters, or that the images have them. */
function chunkOf(batch: PageBatch, first: number, pages: readonly (number | "here")[]): Buffer {
  const chunks: Buffer[] = [];
  const take = (some: Iterable<Buffer>) => {
    for (const chunk of some) chunks.push(Buffer.from(chunk));
  };
  take(batch.open(TASK));
  for (const [index, page] of pages.entries()) {
    const address = (first + index) * PAGE_BYTES;
    if (page === "here") take(batch.range(address, 1, PARENT));
    else {
      batch.space(address, 1).fill(page);
      batch.add(address, 1);
    }
  }
  take(batch.settle());
  return Buffer.concat(chunks);
}

function taker() {
  const placed: { task: number; first: number; letters: (number | undefined)[] }[] = [];
  let received = 0;
  return {
    placed,
    get received() {
      return received;
    },
    imageOf: async () => image,
    onReceived: (pages: number) => (received += pages),
    place: async (task: number, address: number, pages: Buffer) => {
      const letters = Array.from({ length: pages.length / PAGE_BYTES }, (_, page) => pages[page * PAGE_BYTES]);
      placed.push({ task, first: address / PAGE_BYTES, letters });
    },
  };
}

test("what follows each other is placed as one, with its content or from the images", async () => {
  const batch = new PageBatch(new MemoryStreamEncoder(), null);
  const to = taker();
  await takePages(
    (async function* () {
      yield chunkOf(batch, 0, [1, "here", 3, "here"]);
      // Before the next comes, which may be long in coming.
      expect(to.placed).toEqual([{ task: 7, first: 0, letters: [1, 102, 3, 104] }]);
      yield chunkOf(batch, 9, [10]);
      expect(to.placed.slice(1)).toEqual([{ task: 7, first: 9, letters: [10] }]);
      yield* batch.end();
    })(),
    to,
  );
  expect(to.received).toBe(3);
});

test("what has come is placed, though what follows cannot be read", async () => {
  await truncate(join(directory, "pages-65537.img"), PAGE_BYTES);
  const batch = new PageBatch(new MemoryStreamEncoder(), null);
  const to = taker();
  const content = (async function* () {
    yield chunkOf(batch, 0, ["here", 2, "here", 4]);
  })();
  await expect(takePages(content, to)).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
  expect(to.placed).toEqual([{ task: 7, first: 0, letters: [101, 2] }]);
});

test("others have their turn, however much comes that waits for nothing", async () => {
  const batch = new PageBatch(new MemoryStreamEncoder(), null);
  const to = taker();
  let isOver = false;
  let turns = 0;
  const count = () => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const beganAt = performance.now();
  const content = (async function* () {
    while (performance.now() - beganAt < 100) yield chunkOf(batch, 0, ["here", "here", 3, "here"]);
    yield* batch.end();
  })();
  await takePages(content, to);
  isOver = true;
  expect(turns).toBeGreaterThan(5);
});
