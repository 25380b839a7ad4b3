import fc from "fast-check";
import { expect, test } from "vitest";
import { type ImageId, LAZY, PAGE_BYTES, PARENT, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamDecoder } from "../memory-stream/decoder.ts";
import { dumpedMemory } from "./dumped-memory.ts";
import type { Known } from "./page-judge.ts";
import { tableInMemory } from "./testing/digest-tables.ts";

const BASE = 0x7f0000000000;

interface Run {
  /** Pages that are left out before it. */
  readonly gap: number;
  /** The letter of each page. */
  readonly letters: readonly string[];
  readonly isLazy: boolean;
}

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

/** Brings it as CRIU would, in pieces of these lengths, and gives what has arrived. */
async function bring(images: readonly (readonly Run[])[], lengths: readonly number[], known: Known | null) {
  const { sink, memory } = dumpedMemory(known);
  const arrived = arriving(memory.chunks);
  let turn = 0;
  for (const [index, runs] of images.entries()) {
    expect(await sink.open({ kind: index % 2 === 0 ? "task" : "shared", id: index })).toBe(false);
    let vaddr = BASE;
    for (const { gap, letters, isLazy } of runs) {
      vaddr += gap * PAGE_BYTES;
      sink.entry({ vaddr, pages: letters.length, flags: PRESENT | (isLazy ? LAZY : 0) });
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
      vaddr += letters.length * PAGE_BYTES;
    }
  }
  await sink.close();
  return { pages: await arrived, memory };
}

function expected(images: readonly (readonly Run[])[], whatOf: (letter: string) => string): Pages {
  const pages: Pages = new Map();
  for (const [index, runs] of images.entries()) {
    let number = 0;
    for (const { gap, letters, isLazy } of runs) {
      number += gap;
      for (const letter of letters) {
        const key = `${index % 2 === 0 ? "task" : "shared"} ${index} ${number++}`;
        pages.set(key, mark(whatOf(letter), isLazy ? LAZY : 0));
      }
    }
  }
  return pages;
}

const runs = fc.array(
  fc.record({
    gap: fc.integer({ min: 0, max: 600 }),
    letters: fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 300 }),
    isLazy: fc.boolean(),
  }),
  { minLength: 1, maxLength: 5 },
);
const images = fc.array(runs, { minLength: 1, maxLength: 3 });
const lengths = fc.array(fc.integer({ min: 1, max: 40 * PAGE_BYTES }), { minLength: 1, maxLength: 5 });

test("whatever the pieces, every page arrives where it belongs", async () => {
  await fc.assert(
    fc.asyncProperty(images, lengths, async (all, pieces) => {
      const { pages, memory } = await bring(all, pieces, null);
      expect(pages).toEqual(expected(all, (letter) => letter));
      expect(memory).toMatchObject({ seenPages: pages.size, sentPages: pages.size });
    }),
    { numRuns: 60 },
  );
});

test("a page that the round before has goes without its content", async () => {
  await fc.assert(
    fc.asyncProperty(images, lengths, async (all, pieces) => {
      const known = { digests: tableInMemory(), repeated: null, changing: null };
      await bring(all, pieces, { ...known, round: 0 });
      const changed = all.map((of) =>
        of.map((run) => ({ ...run, letters: run.letters.map((letter) => (letter === "a" ? "x" : letter)) })),
      );
      const { pages, memory } = await bring(changed, pieces, { ...known, round: 1 });
      expect(pages).toEqual(expected(changed, (letter) => (letter === "x" ? "x" : "same")));
      const sent = [...pages.values()].filter((what) => what.startsWith("x")).length;
      expect(memory).toMatchObject({ seenPages: pages.size, sentPages: sent, dirtyPages: sent });
    }),
    { numRuns: 30 },
  );
});

test("a dump that fails is told to whoever sends, and the sender's end to the dump", async () => {
  const failing = dumpedMemory(null);
  const next = failing.memory.chunks[Symbol.asyncIterator]().next();
  failing.fail(new Error("CRIU has gone"));
  await expect(next).rejects.toThrow("CRIU has gone");

  const { sink, memory } = dumpedMemory(null);
  await sink.open({ kind: "task", id: 1 });
  sink.entry({ vaddr: BASE, pages: 1, flags: PRESENT });
  sink.data(Buffer.alloc(PAGE_BYTES, "a"));
  const closing = sink.close();
  for await (const _ of memory.chunks) break;
  await expect(closing).rejects.toMatchObject({ reason: "CANCELLED" });
});

test("a page without content is none that a dump brings", () => {
  const { sink } = dumpedMemory(null);
  expect(() => sink.entry({ vaddr: BASE, pages: 1, flags: LAZY })).toThrow("leaves out pages");
});
