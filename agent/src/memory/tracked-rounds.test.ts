/** Rounds of a memory, whose writes a kernel may note, played without one. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LAZY, PAGE_BYTES, PARENT, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamDecoder } from "../memory-stream/decoder.ts";
import { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import { applyDelta } from "../memory-image/page-delta.ts";
import { addPages } from "./add-pages.ts";
import { ChangingPages } from "./changing-pages.ts";
import { type DigestTable, REGION_PAGES } from "./digest-table.ts";
import { PageBatch } from "./page-batch.ts";
import { PageSet } from "./page-set.ts";
import { RepeatedPages } from "./repeated-pages.ts";
import { SpillFile } from "./spill-file.ts";
import { tableInFile, tableInMemory } from "./testing/digest-tables.ts";

const TASK = { kind: "task", id: 1 } as const;
/** Over the edge of a region. */
const BASE = 0x7f00_0000_0000 + (REGION_PAGES - 20) * PAGE_BYTES;
const PAGES = 40;

let directory = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "drayage-rounds-"));
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

function spillFile(): SpillFile {
  return new SpillFile(directory, (error) => {
    throw error;
  });
}

/** What a process has, and what its kernel notes. */
class Model {
  /** The first byte of each page; null where there is none. */
  readonly pages: (number | null)[] = new Array<number | null>(PAGES).fill(null);
  written = new PageSet();

  write(page: number, value: number | null): void {
    this.pages[page] = value;
    if (value !== null) this.written.add({ start: addressOf(page), pages: 1 });
  }

  take(): PageSet {
    const { written } = this;
    this.written = new PageSet();
    return written;
  }
}

/** Pages of one byte are not looked for, and of pages that differ in much no change is sent. */
function contentOf(value: number): Buffer {
  const content = Buffer.alloc(PAGE_BYTES, 0x5a);
  content[1] = value;
  return content;
}

const addressOf = (page: number) => BASE + page * PAGE_BYTES;

interface Round {
  readonly readPages: number;
  /** That it gave content to, and what it took on the way. */
  readonly presentPages: number;
  readonly bytes: number;
  readonly image: Map<number, number>;
}

/** What the destination has after it, given what it had. */
function round(
  model: Model,
  digests: DigestTable,
  number: number,
  options: {
    readonly repeated?: RepeatedPages | null;
    readonly changing?: ChangingPages | null;
    readonly parent: Map<number, number>;
    readonly written: PageSet | null;
    writes(page: number): void;
  },
): Round {
  const batch = new PageBatch(new MemoryStreamEncoder(), {
    digests,
    round: number,
    repeated: options.repeated ?? null,
    changing: options.changing ?? null,
  });
  const decoder = new MemoryStreamDecoder();
  const image = new Map<number, number>();
  /** All that was PRESENT, in this order. */
  const present: number[] = [];
  let bytes = 0;
  let at = 0;
  let readPages = 0;
  const receive = (chunks: Iterable<Buffer>) => {
    for (const chunk of chunks) {
      bytes += chunk.length;
      for (const event of decoder.decode(chunk)) {
        if (event.kind === "range") {
          at = (event.vaddr - BASE) / PAGE_BYTES;
          if ((event.flags & PARENT) === 0) continue;
          for (let page = at; page < at + event.pages; page++) {
            // As the images demand it.
            expect(options.parent.has(page)).toBe(true);
            image.set(page, options.parent.get(page) as number);
          }
        } else if (event.kind === "delta") {
          const page = (event.vaddr - BASE) / PAGE_BYTES;
          expect(options.parent.has(page)).toBe(true);
          const content = contentOf(options.parent.get(page) as number);
          applyDelta(content, event.change);
          image.set(page, content[1] as number);
          present.push(content[1] as number);
        } else if (event.kind === "repeat") {
          const values = present.slice(event.from, event.from + event.pages);
          for (const [index, value] of values.entries()) image.set((event.vaddr - BASE) / PAGE_BYTES + index, value);
          present.push(...values);
        } else if (event.kind === "content") {
          for (let offset = 0; offset < event.bytes.length; offset += PAGE_BYTES) {
            const value = event.bytes[offset + 1] as number;
            image.set(at++, value);
            present.push(value);
          }
        }
      }
    }
  };
  const read = (address: number, space: Buffer) => {
    const first = (address - BASE) / PAGE_BYTES;
    const pages = space.length / PAGE_BYTES;
    for (let i = 0; i < pages; i++) contentOf(model.pages[first + i] as number).copy(space, i * PAGE_BYTES);
    readPages += pages;
    return space.length;
  };
  receive(batch.open(TASK));
  for (let page = 0; page < PAGES; ) {
    options.writes(page);
    if (model.pages[page] === null) {
      page++;
      continue;
    }
    let run = 1;
    while (page + run < PAGES && model.pages[page + run] !== null) run++;
    const { written } = options;
    page += addPages(batch, addressOf(page), run, { written, read }).pages;
    if (batch.isFull) receive(batch.drain());
  }
  receive(batch.end());
  decoder.finish();
  return { readPages, image, presentPages: present.length, bytes };
}

const write = fc.record({ page: fc.nat(PAGES - 1), value: fc.option(fc.integer({ min: 0, max: 3 }), { freq: 5 }) });
const plan = fc.array(
  fc.record({
    /** Before it, while it is read (when that page is reached), and whether the kernel can vouch for what it notes. */
    before: fc.array(write, { maxLength: 30 }),
    meanwhile: fc.array(fc.record({ at: fc.nat(PAGES - 1), write }), { maxLength: 15 }),
    isKnown: fc.boolean(),
  }),
  { minLength: 1, maxLength: 6 },
);

test("whatever is written before and during rounds, the last one, of a container that stands still, has it all", () => {
  fc.assert(
    fc.property(
      plan,
      fc.array(write, { maxLength: 20 }),
      fc.boolean(),
      fc.boolean(),
      fc.boolean(),
      (rounds, last, findsRepeated, findsChanged, isInFile) => {
        const repeated = findsRepeated ? new RepeatedPages() : null;
        const changing = findsChanged ? new ChangingPages() : null;
        const model = new Model();
        const digests = isInFile ? tableInFile(spillFile()) : tableInMemory();
        let parent = new Map<number, number>();
        for (const [number, { before, meanwhile, isKnown }] of rounds.entries()) {
          for (const { page, value } of before) model.write(page, value);
          const noted = model.take();
          const written = isKnown && number > 0 ? noted : null;
          const writes = (page: number) => {
            for (const { at, write } of meanwhile) if (at === page) model.write(write.page, write.value);
          };
          parent = round(model, digests, number, { repeated, changing, parent, written, writes }).image;
        }
        for (const { page, value } of last) model.write(page, value);
        const end = round(model, digests, rounds.length, {
          repeated,
          changing,
          parent,
          written: model.take(),
          writes: () => undefined,
        });
        const expected = model.pages.flatMap((value, page) => (value === null ? [] : [[page, value] as const]));
        expect([...end.image].sort(([a], [b]) => a - b)).toEqual(expected);
        digests.close();
      },
    ),
    { numRuns: 300 },
  );
});

test("what was not written to is not read, and what was written to without a change is not sent", () => {
  const model = new Model();
  const digests = tableInMemory();
  for (let page = 0; page < PAGES; page++) model.write(page, page);
  const none = { writes: () => undefined };
  const first = round(model, digests, 0, { ...none, parent: new Map(), written: null });
  expect(first.readPages).toBe(PAGES);
  model.take();
  model.write(3, 3);
  model.write(30, 99);
  const second = round(model, digests, 1, { ...none, parent: first.image, written: model.take() });
  expect(second.readPages).toBe(2);
  expect(second.image.get(30)).toBe(99);
  // Nothing of it gets lost over rounds that only tell of it.
  const third = round(model, digests, 2, { ...none, parent: second.image, written: model.take() });
  expect(third.readPages).toBe(0);
  expect(third.image).toEqual(second.image);
});

test("pages that a restore may leave out stay apart from the others, read or not", () => {
  const digests = tableInMemory();
  const flagsOf = (number: number, body: (batch: PageBatch) => void) => {
    const batch = new PageBatch(new MemoryStreamEncoder(), { digests, round: number, repeated: null, changing: null });
    const decoder = new MemoryStreamDecoder();
    const flags: [pages: number, flags: number][] = [];
    const read = (chunks: Iterable<Buffer>) => {
      for (const chunk of chunks) {
        for (const event of decoder.decode(chunk)) if (event.kind === "range") flags.push([event.pages, event.flags]);
      }
    };
    read(batch.open(TASK));
    body(batch);
    read(batch.end());
    return flags;
  };
  flagsOf(0, (batch) => {
    batch.space(BASE, 4).fill(1);
    batch.add(BASE, 4);
  });
  const seen = flagsOf(1, (batch) => {
    batch.addSame(BASE, 1, { isLazy: true });
    batch.addSame(addressOf(1), 1);
    batch.space(addressOf(2), 1).fill(2);
    batch.add(addressOf(2), 1, { isLazy: true });
    batch.addSame(addressOf(3), 1);
  });
  expect(seen).toEqual([
    [1, PARENT | LAZY],
    [1, PARENT],
    [1, PRESENT | LAZY],
    [1, PARENT],
  ]);
});

test("the second of two equal runs of pages goes as one reference", () => {
  const batch = new PageBatch(new MemoryStreamEncoder(), {
    digests: tableInMemory(),
    round: 0,
    repeated: new RepeatedPages(),
    changing: null,
  });
  const decoder = new MemoryStreamDecoder();
  const seen: string[] = [];
  const read = (chunks: Iterable<Buffer>) => {
    for (const chunk of chunks) {
      for (const event of decoder.decode(chunk)) {
        if (event.kind === "range") seen.push(`${event.pages} pages`);
        if (event.kind === "repeat") seen.push(`${event.pages} pages, those from ${event.from} on`);
      }
    }
  };
  for (const [id, first, pages] of [
    [1, 0, 5],
    [2, 1, 4],
    [3, 9, 1],
  ] as const) {
    read(batch.open({ kind: "task", id }));
    const space = batch.space(BASE, pages).fill(0);
    for (let page = 0; page < pages; page++) space.writeDoubleLE(first + page + 0.5, page * PAGE_BYTES);
    batch.add(BASE, pages);
    read(batch.drain());
  }
  read(batch.end());
  expect(seen).toEqual(["5 pages", "4 pages, those from 1 on", "1 pages"]);
  expect(batch).toMatchObject({ seenPages: 10, sentPages: 6, repeatedPages: 4 });
});

test("of a page that changes again, only what has changed is sent", () => {
  const model = new Model();
  const digests = tableInMemory();
  const changing = new ChangingPages();
  let parent = new Map<number, number>();
  const sent: number[] = [];
  for (let number = 0; number < 4; number++) {
    for (let page = 0; page < PAGES; page++)
      if (number === 0 || page % 8 === 0) model.write(page, (page * 5 + number) % 256);
    const { image, presentPages, bytes } = round(model, digests, number, {
      changing,
      parent,
      written: null,
      writes: () => undefined,
    });
    expect(image.get(8)).toBe((40 + number) % 256);
    expect(presentPages).toBe(number === 0 ? PAGES : PAGES / 8);
    sent.push(bytes);
    parent = image;
  }
  const [first = 0, second = 0, third = 0, fourth = 0] = sent;
  expect(first).toBeGreaterThan(PAGES * PAGE_BYTES);
  expect(second).toBeGreaterThan((PAGES / 8) * PAGE_BYTES);
  // A control page, and one for all changes.
  expect(third).toBeLessThan(4 * PAGE_BYTES);
  expect(fourth).toBeLessThan(4 * PAGE_BYTES);
});
