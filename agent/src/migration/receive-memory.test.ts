import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ChangingPages } from "../memory/changing-pages.ts";
import { PageBatch } from "../memory/page-batch.ts";
import type { Known } from "../memory/page-judge.ts";
import { RepeatedPages } from "../memory/repeated-pages.ts";
import { tableInMemory } from "../memory/testing/digest-tables.ts";
import { giveBackSuperseded } from "../memory-image/give-back.ts";
import { MemoryImageReader } from "../memory-image/memory-image-reader.ts";
import { type ImageId, PAGE_BYTES, PARENT, PRESENT } from "../memory-image/page-range.ts";
import { pagemapName, parsePagemap } from "../memory-image/pagemap-image.ts";
import { setParent } from "../memory-image/parent-link.ts";
import { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import { receiveMemory } from "./receive-memory.ts";

const TASK: ImageId = { kind: "task", id: 1 };
const IMAGES: readonly ImageId[] = [TASK, { kind: "task", id: 2 }, { kind: "shared", id: 1 }];
const SPACE_PAGES = 14;
/** Of pages: 8 that have nothing in common, and of each so many that differ in a few bytes. */
const BASES = 8;

/** What an image has: the letters of its pages by their number. */
type Pages = ReadonlyMap<number, number>;
type Memory = ReadonlyMap<ImageId, Pages>;

let root = "";
let disk = "";
beforeEach(async () => {
  root = await mkdtemp("/dev/shm/receive-memory-");
  disk = await mkdtemp(join(tmpdir(), "receive-memory-"));
});
afterEach(async () => {
  for (const directory of [root, disk]) await rm(directory, { recursive: true });
});

function page(letter: number): Buffer {
  const content = Buffer.alloc(PAGE_BYTES);
  for (let at = 0; at < PAGE_BYTES; at++) content[at] = at * 7 + (letter % BASES) * 31 + (at >> 5);
  content.writeUInt32LE(Math.floor(letter / BASES), 100);
  return content;
}

/** As a round sends it, given what was sent before; `lazy`: what can be left out of a restore. */
function* stream(batch: PageBatch, memory: Memory, lazy: boolean): Generator<Buffer> {
  for (const [image, pages] of memory) {
    yield* batch.open(image);
    for (const [number, letter] of [...pages].sort(([one], [other]) => one - other)) {
      page(letter).copy(batch.space(number * PAGE_BYTES, 1));
      batch.add(number * PAGE_BYTES, 1, { isLazy: lazy });
      if (batch.isFull) yield* batch.drain();
    }
    yield* batch.drain();
  }
  yield* batch.end();
}

function inPieces(chunks: Iterable<Buffer>, bytes: number): Readable {
  // Each is to be used before the next is asked for.
  const all = Buffer.concat(Array.from(chunks, (chunk) => Buffer.from(chunk)));
  const pieces = Array.from({ length: Math.ceil(all.length / bytes) }, (_, index) => index * bytes);
  return Readable.from(pieces.map((at) => all.subarray(at, at + bytes)));
}

async function directoryOf(round: number): Promise<string> {
  const path = join(root, `${round}`);
  await mkdir(path);
  if (round > 0) await setParent(path, `${round - 1}`);
  return path;
}

async function expectMemory(directory: string, memory: Memory): Promise<void> {
  const reader = await MemoryImageReader.open(directory);
  expect(await reader.images()).toHaveLength(memory.size);
  for (const [id, pages] of memory) {
    const image = await reader.load(id);
    for (let number = 0; number < SPACE_PAGES; number++) {
      const letter = pages.get(number);
      expect(image.locate(number * PAGE_BYTES).kind).toBe(letter === undefined ? "absent" : "content");
      const found = Buffer.alloc(PAGE_BYTES);
      await image.read(number * PAGE_BYTES, found);
      expect(found.equals(letter === undefined ? Buffer.alloc(PAGE_BYTES) : page(letter))).toBe(true);
    }
    await image.close();
  }
}

test("rounds are what was sent, wherever their pages lie, and whatever has come, gone and come again", async () => {
  const letter = fc.integer({ min: 0, max: 8 * BASES - 1 });
  const pagesOf = fc
    .array(fc.option(letter, { nil: undefined }), { minLength: SPACE_PAGES, maxLength: SPACE_PAGES })
    .map((letters) => new Map(letters.flatMap((one, number) => (one === undefined ? [] : [[number, one] as const]))));
  const roundOf = fc.record({
    // Undefined: the image is gone.
    images: fc.tuple(...IMAGES.map(() => fc.option(pagesOf, { nil: undefined, freq: 6 }))),
    /** Of the images of before, which pages stay as they are, as bits. */
    kept: fc.integer({ min: 0, max: 2 ** SPACE_PAGES - 1 }),
    places: fc.array(fc.constantFrom("beside", "disk", "tmpfs"), { minLength: 3, maxLength: 3 }),
    pieceBytes: fc.constantFrom(1000, 4096, 65_536),
    givesBack: fc.boolean(),
  });
  let changed = 0;
  let repeated = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(roundOf, { minLength: 2, maxLength: 5 }), fc.boolean(), async (rounds, isLazy) => {
      for (const directory of [root, disk]) {
        await rm(directory, { recursive: true });
        await mkdir(directory);
      }
      const sent = { digests: tableInMemory(), repeated: new RepeatedPages(), changing: new ChangingPages() };
      let before: Memory = new Map();
      let givingBack = Promise.resolve();
      for (const [round, { images, kept, places, pieceBytes, givesBack }] of rounds.entries()) {
        const isFinal = round === rounds.length - 1;
        // The final one does not wait for it.
        if (!isFinal) await givingBack;
        const memory = new Map<ImageId, Pages>();
        for (const [index, image] of IMAGES.entries()) {
          const pages = images[index];
          if (pages === undefined) continue;
          const stays = [...(before.get(image) ?? [])].filter(([number]) => (kept & (1 << number)) !== 0);
          memory.set(image, new Map([...pages, ...stays]));
        }
        const known: Known = { ...sent, round };
        const batch = new PageBatch(new MemoryStreamEncoder(), known);
        const content = inPieces(stream(batch, memory, isFinal && isLazy), pieceBytes);
        changed += batch.changedPages;
        repeated += batch.repeatedPages;
        const directory = await directoryOf(round);
        let asked = 0;
        const pagesDirectory = async () => {
          const place = places[asked++ % places.length];
          if (place === "beside") return null;
          const elsewhere = join(place === "disk" ? disk : root, `pages-${round}`);
          await mkdir(elsewhere, { recursive: true });
          return elsewhere;
        };
        await receiveMemory(content, directory, { pagesDirectory, isFinal });
        if (isFinal) await givingBack;
        await expectMemory(directory, memory);
        if (givesBack && !isFinal) givingBack = giveBackSuperseded(directory);
        before = memory;
      }
      await givingBack;
    }),
    { numRuns: 60 },
  );
  expect(changed).toBeGreaterThan(0);
  expect(repeated).toBeGreaterThan(0);
});

test.each([
  ["what a restore may leave out lies where it was", true, [0, 4, PARENT]],
  ["all else lies in the final images, where alone CRIU may look for it", false, [0, 4, PRESENT]],
] as const)("of a process, %s", async (_, isLazy, expected) => {
  const known = { digests: tableInMemory(), repeated: null, changing: null };
  const memoryOf = (letters: readonly number[]): Memory => new Map([[TASK, new Map(letters.entries())]]);
  for (const [round, letters] of [
    [1, 2, 3, 4],
    [5, 6, 7, 8],
  ].entries()) {
    const batch = new PageBatch(new MemoryStreamEncoder(), { ...known, round });
    const isFinal = round === 1;
    const content = inPieces(stream(batch, memoryOf(letters), isFinal && isLazy), PAGE_BYTES);
    await receiveMemory(content, await directoryOf(round), { pagesDirectory: async () => null, isFinal });
  }
  const { ranges } = parsePagemap(await readFile(join(root, "1", pagemapName(TASK))));
  const withoutLazy = [...ranges].map(({ vaddr, pages, flags }) => [vaddr, pages, flags & (PARENT | PRESENT)]);
  expect(withoutLazy).toEqual([expected]);
  await expectMemory(join(root, "1"), memoryOf([5, 6, 7, 8]));
});
