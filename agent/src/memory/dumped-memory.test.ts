import fc from "fast-check";
import { expect, test } from "vitest";
import { type ImageId, LAZY, PAGE_BYTES, PARENT, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamDecoder } from "../memory-stream/decoder.ts";
import { dumpedMemory } from "./dumped-memory.ts";
import type { FrozenProcesses } from "./frozen-processes.ts";
import type { Known } from "./page-judge.ts";
import { tableInMemory } from "./testing/digest-tables.ts";

const BASE = 0x7f0000000000;
/** As in dumped-memory.ts. */
const WHOLE_PAGES = 256;
const { signal } = new AbortController();

interface Run {
  /** Pages that are left out before it. */
  readonly gap: number;
  /** The letter of each page. */
  readonly letters: readonly string[];
  /** CRIU leaves it where it is, if it is of a process. */
  readonly isLeft: boolean;
}

type Image = readonly Run[];

type Pages = Map<string, string>;

/** What each page of the stream is, by image and address: its letter, or that the round before has it. */
async function arriving(chunks: AsyncIterable<Buffer>): Promise<Pages> {
  const decoder = new MemoryStreamDecoder();
  const pages: Pages = new Map();
  let image: ImageId = { kind: "task", id: 0 };
  let open = { vaddr: 0, flags: 0 };
  let content: Buffer[] = [];
  const settle = () => {
    const bytes = Buffer.concat(content);
    content = [];
    for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
      const page = bytes.subarray(at, at + PAGE_BYTES);
      const letter = String.fromCharCode(page[0] ?? 0);
      expect(page.equals(Buffer.alloc(PAGE_BYTES, letter))).toBe(true);
      pages.set(`${image.kind} ${image.id} ${(open.vaddr + at - BASE) / PAGE_BYTES}`, mark(letter, open.flags));
    }
  };
  for await (const chunk of chunks) {
    for (const event of decoder.decode(chunk)) {
      if (event.kind === "content") content.push(Buffer.from(event.bytes));
      else settle();
      if (event.kind === "open") image = event.image;
      else if (event.kind === "range" && (event.flags & PRESENT) !== 0) open = event;
      else if (event.kind === "range") {
        for (let page = 0; page < event.pages; page++) {
          const number = (event.vaddr - BASE) / PAGE_BYTES + page;
          pages.set(`${image.kind} ${image.id} ${number}`, mark("same", event.flags & ~PARENT));
        }
      }
    }
  }
  decoder.finish();
  return pages;
}

function mark(what: string, flags: number): string {
  return (flags & LAZY) === 0 ? what : `${what}, lazy`;
}

function imageOf(index: number): ImageId {
  return { kind: index % 2 === 0 ? "task" : "shared", id: index };
}

interface Given {
  /** Of tasks and of shared memory, in turns. */
  readonly images: readonly Image[];
  /** CRIU brings it in pieces of these lengths. */
  readonly lengths: readonly number[];
  readonly known?: Known | null;
  /** The copy will fetch what CRIU leaves. */
  readonly isFetched: boolean;
}

/** Brings it as CRIU would, and gives what has arrived. */
async function bring({ images, lengths, known = null, isFetched }: Given) {
  let isOver = false;
  const open = async () => {
    expect(isOver).toBe(true);
    return processesWith(images);
  };
  const { sink, memory, complete } = dumpedMemory({ known, processes: isFetched ? null : open, signal });
  const arrived = arriving(memory.chunks);
  let turn = 0;
  for (const [index, runs] of images.entries()) {
    const image = imageOf(index);
    expect(await sink.open(image)).toBe(false);
    let vaddr = BASE;
    for (const { gap, letters, isLeft } of runs) {
      vaddr += gap * PAGE_BYTES;
      const range = { vaddr, pages: letters.length };
      vaddr += letters.length * PAGE_BYTES;
      if (isLeft && image.kind === "task") {
        sink.entry({ ...range, flags: LAZY });
        continue;
      }
      sink.entry({ ...range, flags: PRESENT });
      const content = Buffer.concat(letters.map((letter) => Buffer.alloc(PAGE_BYTES, letter)));
      for (let at = 0; at < content.length; ) {
        const length = lengths[turn++ % lengths.length] ?? PAGE_BYTES;
        // A piece is used up by the next flush: whoever brings it uses its memory again.
        const piece = Buffer.from(content.subarray(at, at + length));
        sink.data(piece);
        at += length;
        if (turn % 3 === 0) {
          await sink.flush();
          piece.fill("!");
        }
      }
    }
  }
  await sink.close();
  isOver = true;
  complete();
  return { pages: await arrived, memory };
}

/** Their memory, by letters: as it is in the images, but in capitals, so that it shows where a page is from. */
function processesWith(images: readonly Image[]): FrozenProcesses {
  const all = images.flatMap((runs, index) => {
    const { kind, id } = imageOf(index);
    if (kind !== "task") return [];
    const letters = new Map([...numbered(runs)].map(({ number, letter }) => [number, letter.toUpperCase()]));
    const read = (address: number, space: Buffer) => {
      for (let at = 0; at < space.length; at += PAGE_BYTES) {
        const letter = letters.get((address + at - BASE) / PAGE_BYTES);
        if (letter === undefined) return at;
        space.fill(letter, at, at + PAGE_BYTES);
      }
      return space.length;
    };
    return [{ pid: id, read, written: null }];
  });
  return { all, close: () => undefined };
}

function* numbered(runs: Image): Generator<{ number: number; letter: string; isLeft: boolean }> {
  let number = 0;
  for (const { gap, letters, isLeft } of runs) {
    number += gap;
    for (const letter of letters) yield { number: number++, letter, isLeft };
  }
}

interface ExpectedPage {
  readonly letter: string;
  readonly isTask: boolean;
  readonly isLeft: boolean;
  /** Pages of the image that CRIU has brought before. */
  readonly broughtBefore: number;
}

type Expected = (page: ExpectedPage) => string;

function expected(images: readonly Image[], whatOf: Expected): Pages {
  const pages: Pages = new Map();
  for (const [index, runs] of images.entries()) {
    const { kind, id } = imageOf(index);
    const isTask = kind === "task";
    let broughtBefore = 0;
    for (const { number, letter, isLeft: wouldBeLeft } of numbered(runs)) {
      const isLeft = isTask && wouldBeLeft;
      pages.set(`${kind} ${id} ${number}`, whatOf({ letter, isTask, isLeft, broughtBefore }));
      if (!isLeft) broughtBefore++;
    }
  }
  return pages;
}

const runs = fc.array(
  fc.record({
    gap: fc.integer({ min: 0, max: 600 }),
    letters: fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 300 }),
    isLeft: fc.boolean(),
  }),
  { minLength: 1, maxLength: 5 },
);
const images = fc.array(runs, { minLength: 1, maxLength: 3 });
const lengths = fc.array(fc.integer({ min: 1, max: 40 * PAGE_BYTES }), { minLength: 1, maxLength: 5 });

const countOf = (pages: Pages, ...whats: string[]) => [...pages.values()].filter((what) => whats.includes(what)).length;

test("what the copy will fetch is told of, and all that CRIU brings arrives where it belongs, whatever the pieces", async () => {
  await fc.assert(
    fc.asyncProperty(images, lengths, async (all, pieces) => {
      const { pages, memory } = await bring({ images: all, lengths: pieces, isFetched: true });
      expect(pages).toEqual(expected(all, ({ letter, isLeft }) => (isLeft ? "same, lazy" : letter)));
      const leftPages = countOf(pages, "same, lazy");
      const seenPages = pages.size - leftPages;
      expect(memory).toMatchObject({ seenPages, sentPages: seenPages, leftPages });
    }),
    { numRuns: 60 },
  );
});

test("otherwise the memory of a process is read from it, all of it, when the dump is over", async () => {
  await fc.assert(
    fc.asyncProperty(images, lengths, async (all, pieces) => {
      const { pages, memory } = await bring({ images: all, lengths: pieces, isFetched: false });
      const whatOf: Expected = ({ letter, isTask, isLeft }) =>
        isTask ? mark(letter.toUpperCase(), isLeft ? LAZY : 0) : letter;
      expect(pages).toEqual(expected(all, whatOf));
      expect(memory).toMatchObject({ seenPages: pages.size, sentPages: pages.size, leftPages: 0 });
    }),
    { numRuns: 60 },
  );
});

test.each([true, false])("what the round before has goes without its content (fetched: %s)", async (isFetched) => {
  await fc.assert(
    fc.asyncProperty(images, lengths, async (all, pieces) => {
      const known = { digests: tableInMemory(), repeated: null, changing: null };
      await bring({ images: all, lengths: pieces, known: { ...known, round: 0 }, isFetched });
      const changed = all.map((of) =>
        of.map((run) => ({ ...run, letters: run.letters.map((letter) => (letter === "a" ? "x" : letter)) })),
      );
      const given = { images: changed, lengths: pieces, known: { ...known, round: 1 }, isFetched };
      const { pages, memory } = await bring(given);
      const whatOf: Expected = ({ letter, isTask, isLeft, broughtBefore }) => {
        if (isTask && isFetched && isLeft) return "same, lazy";
        // A little of a process goes whole, however often.
        if (isTask && isFetched) return broughtBefore < WHOLE_PAGES || letter === "x" ? letter : "same";
        const what = letter === "x" ? (isTask ? "X" : "x") : "same";
        return mark(what, isLeft ? LAZY : 0);
      };
      expect(pages).toEqual(expected(changed, whatOf));
      const sentPages = [...pages.values()].filter((what) => !what.startsWith("same")).length;
      expect(memory).toMatchObject({ sentPages, dirtyPages: sentPages });
    }),
    { numRuns: 30 },
  );
});

test("a dump that fails is told to whoever sends, and the sender's end to the dump", async () => {
  const failing = dumpedMemory({ known: null, processes: null, signal });
  const next = failing.memory.chunks[Symbol.asyncIterator]().next();
  failing.fail(new Error("CRIU has gone"));
  await expect(next).rejects.toThrow("CRIU has gone");

  const { sink, memory } = dumpedMemory({ known: null, processes: null, signal });
  await sink.open({ kind: "task", id: 1 });
  sink.entry({ vaddr: BASE, pages: 1, flags: PRESENT });
  sink.data(Buffer.alloc(PAGE_BYTES, "a"));
  const closing = sink.close();
  for await (const _ of memory.chunks) break;
  await expect(closing).rejects.toMatchObject({ reason: "CANCELLED" });
});

test("a dump that fails when all has come from it is no dump: what it has left is not read", async () => {
  const processes = () => Promise.reject(new Error("they were read"));
  const { sink, memory, fail } = dumpedMemory({ known: null, processes, signal });
  const arrived = arriving(memory.chunks);
  await sink.open({ kind: "task", id: 1 });
  sink.entry({ vaddr: BASE, pages: 1, flags: LAZY });
  await sink.close();
  fail(new Error("CRIU has gone"));
  await expect(arrived).rejects.toThrow("CRIU has gone");
});

test("a dump that went well without bringing the memory is none", async () => {
  const { memory, complete } = dumpedMemory({ known: null, processes: null, signal });
  complete();
  await expect(arriving(memory.chunks)).rejects.toMatchObject({ reason: "CRIU_DUMP_FAILED" });
});

test("a page that is neither brought nor left is none of a dump", () => {
  const { sink } = dumpedMemory({ known: null, processes: null, signal });
  expect(() => sink.entry({ vaddr: BASE, pages: 1, flags: 0 })).toThrow("leaves out pages");
});
