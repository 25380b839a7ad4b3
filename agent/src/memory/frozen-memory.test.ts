import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MemoryImageReader } from "../memory-image/memory-image-reader.ts";
import { MemoryImageWriter } from "../memory-image/memory-image-writer.ts";
import { type ImageId, LAZY, PAGE_BYTES, PRESENT } from "../memory-image/page-range.ts";
import { setParent } from "../memory-image/parent-link.ts";
import { receiveMemory } from "../migration/receive-memory.ts";
import { frozenMemory } from "./frozen-memory.ts";
import type { Known } from "./page-judge.ts";
import { tableInMemory } from "./testing/digest-tables.ts";

const TASK: ImageId = { kind: "task", id: 1 };
const SHARED: ImageId = { kind: "shared", id: 9 };
const BASE = 0x7f00_0000_0000;
/** Private memory that the dump has left where it is: pages, beginning behind one that it has not. */
const LEFT_PAGES = 700;

let root = "";

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "frozen-memory-"));
});
afterEach(() => rm(root, { recursive: true }));

async function directory(name: string, parent?: string): Promise<string> {
  const path = join(root, name);
  await mkdir(path);
  if (parent !== undefined) await setParent(path, parent);
  return path;
}

const pages = (letters: string) =>
  Buffer.concat([...letters].map((letter, index) => Buffer.alloc(PAGE_BYTES, `${letter}${index}`)));

/** As CRIU leaves it behind: shared memory with a letter for each page, and of a process the first page alone. */
async function dump(name: string, shared: string): Promise<string> {
  const path = await directory(name);
  const writer = await MemoryImageWriter.create(path);
  await writer.open(SHARED);
  writer.entry({ vaddr: 0, pages: shared.length, flags: PRESENT });
  writer.data(pages(shared));
  await writer.open(TASK);
  writer.entry({ vaddr: BASE, pages: 1, flags: PRESENT });
  writer.data(pages("t"));
  writer.entry({ vaddr: BASE + PAGE_BYTES, pages: LEFT_PAGES, flags: LAZY });
  await writer.close();
  return path;
}

/** Sends it as it stands in these images, private memory only told of, and gives what is told of it. */
async function send(imageDirectory: string, into: string, known: Known | null, images: ImageId[] | null = null) {
  const { signal } = new AbortController();
  const memory = frozenMemory({ imageDirectory, images, known, processes: null, signal });
  const content = Readable.from(copies(memory.chunks), { objectMode: false });
  await receiveMemory(content, into, { pagesDirectory: () => Promise.resolve(null), isFinal: true });
  return memory;
}

/** A stream asks for the next before the one before is used. */
async function* copies(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) yield Buffer.from(chunk);
}

async function expectArrived(path: string, shared: string): Promise<void> {
  const reader = await MemoryImageReader.open(path);
  const [memory, task] = [await reader.load(SHARED), await reader.load(TASK)];
  const content = Buffer.alloc(shared.length * PAGE_BYTES);
  await memory.read(0, content);
  expect(content.equals(pages(shared))).toBe(true);
  expect([...task.ranges]).toEqual([
    expect.objectContaining({ vaddr: BASE, pages: 1 }),
    { vaddr: BASE + PAGE_BYTES, pages: LEFT_PAGES, flags: LAZY },
  ]);
  const own = Buffer.alloc(PAGE_BYTES);
  await task.read(BASE, own);
  expect(own.equals(pages("t"))).toBe(true);
  expect(task.locate(BASE + PAGE_BYTES).kind).toBe("lazy");
  await Promise.all([memory.close(), task.close()]);
}

test("private memory that is to be fetched is told of, and what the dump has written goes along", async () => {
  const into = await directory("images");
  const memory = await send(await dump("dumped", "abc"), into, null);
  await expectArrived(into, "abc");
  expect(memory).toMatchObject({ seenPages: 3 + 1, sentPages: 4 });
});

test("of what the dump has written, only what the last round does not have goes again", async () => {
  const digests = tableInMemory();
  const known = (round: number): Known => ({ digests, round, repeated: null, changing: null });
  await send(await dump("before", "abcdef"), await directory("round-0"), known(0));
  const into = await directory("images", "round-0");
  const memory = await send(await dump("dumped", "abXdefg"), into, known(1));
  await expectArrived(into, "abXdefg");
  expect(memory).toMatchObject({ seenPages: 7 + 1, sentPages: 2, dirtyPages: 2 });
});

test("of the images, those that are asked for", async () => {
  const into = await directory("images");
  const memory = await send(await dump("dumped", "abc"), into, null, [SHARED]);
  expect(await (await MemoryImageReader.open(into)).images()).toEqual([SHARED]);
  expect(memory).toMatchObject({ seenPages: 3, sentPages: 3 });
});
