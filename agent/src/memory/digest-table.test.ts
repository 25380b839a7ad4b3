import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type ImageId, PAGE_BYTES } from "../memory-image/page-range.ts";
import { type DigestTable, REGION_BYTES, REGION_PAGES } from "./digest-table.ts";
import { PageSet } from "./page-set.ts";
import { SpillFile } from "./spill-file.ts";
import { tableInFile, tableInMemory } from "./testing/digest-tables.ts";

const TASK: ImageId = { kind: "task", id: 1 };
const BASE = 0x7f00_0000_0000;

function verdictsOf(table: DigestTable, round: number, vaddr: number, content: Buffer, image = TASK): number[] {
  const pages = content.length / PAGE_BYTES;
  const verdicts = Buffer.alloc(pages);
  const toSend = table.compare(image, round, vaddr, content, 0, pages, verdicts);
  expect(toSend).toBe(verdicts.filter((verdict) => verdict === 1).length);
  return [...verdicts];
}

test("a page is sent when it is new or differs, by whatever single bit", () => {
  const table = tableInMemory();
  const content = randomBytes(4 * PAGE_BYTES);
  expect(verdictsOf(table, 0, BASE, content)).toEqual([1, 1, 1, 1]);
  expect(verdictsOf(table, 1, BASE, content)).toEqual([0, 0, 0, 0]);
  let round = 2;
  fc.assert(
    fc.property(fc.nat(content.length * 8 - 1), (bit) => {
      content[bit >> 3] = (content[bit >> 3] as number) ^ (1 << (bit & 7));
      const expected = [0, 0, 0, 0];
      expected[Math.floor((bit >> 3) / PAGE_BYTES)] = 1;
      expect(verdictsOf(table, round++, BASE, content)).toEqual(expected);
    }),
    { numRuns: 100 },
  );
});

test("a page that the round before has not told of is sent again, the same as it may be", () => {
  const table = tableInMemory();
  const content = randomBytes(PAGE_BYTES);
  expect(verdictsOf(table, 0, BASE, content)).toEqual([1]);
  expect(verdictsOf(table, 2, BASE, content)).toEqual([1]);
  expect(verdictsOf(table, 3, BASE, content)).toEqual([0]);
});

test("images and regions are kept apart, and a page of zeros is one like any other", () => {
  const table = tableInMemory();
  const zeros = Buffer.alloc(PAGE_BYTES);
  expect(verdictsOf(table, 0, BASE, zeros)).toEqual([1]);
  expect(verdictsOf(table, 0, BASE + REGION_BYTES, zeros)).toEqual([1]);
  expect(verdictsOf(table, 1, BASE, zeros, { kind: "shared", id: 1 })).toEqual([1]);
  expect(verdictsOf(table, 1, BASE, zeros)).toEqual([0]);
});

test("pages that are forgotten are sent again, over regions, and no others", () => {
  const table = tableInMemory();
  const content = randomBytes(4 * PAGE_BYTES);
  const second = BASE + REGION_BYTES;
  for (const vaddr of [BASE, second, second + 4 * PAGE_BYTES]) verdictsOf(table, 0, vaddr, content);
  table.forget(TASK, BASE + 2 * PAGE_BYTES, REGION_PAGES + 3);
  table.forget({ kind: "task", id: 2 }, BASE, REGION_PAGES);
  expect(verdictsOf(table, 1, BASE, content)).toEqual([0, 0, 1, 1]);
  expect(verdictsOf(table, 1, second, content)).toEqual([1, 1, 1, 1]);
  expect(verdictsOf(table, 1, second + 4 * PAGE_BYTES, content)).toEqual([1, 0, 0, 0]);
});

test("pages that reach beyond their region are refused", () => {
  const table = tableInMemory();
  expect(() => verdictsOf(table, 0, BASE + REGION_BYTES - PAGE_BYTES, Buffer.alloc(2 * PAGE_BYTES))).toThrow(
    RangeError,
  );
});

const IMAGES: readonly ImageId[] = [TASK, { kind: "task", id: 2 }, { kind: "shared", id: 1 }];
const REGIONS = 3;
/** Somewhere in a region: its pages, few enough that the same ones are asked for again. */
const place = fc.record({
  image: fc.constantFrom(...IMAGES),
  vaddr: fc
    .tuple(fc.nat(REGIONS - 1), fc.integer({ min: REGION_PAGES - 8, max: REGION_PAGES - 1 }))
    .map(([region, page]) => BASE + region * REGION_BYTES + page * PAGE_BYTES),
  pages: fc.integer({ min: 1, max: 8 }),
});
const question = fc.oneof(
  fc.record({ ask: fc.constant("compare" as const), place, letter: fc.constantFrom("a", "b") }),
  fc.record({ ask: fc.constant("tell" as const), place }),
  fc.record({ ask: fc.constant("run" as const), place, written: fc.option(place) }),
  fc.record({ ask: fc.constant("told" as const), place }),
  fc.record({ ask: fc.constant("next round" as const) }),
);

test("a table that is in its file says what one in memory says", async () => {
  const directory = await mkdtemp(join(tmpdir(), "drayage-digests-"));
  try {
    fc.assert(
      fc.property(fc.array(question, { minLength: 10, maxLength: 200 }), (questions) => {
        const file = new SpillFile(directory, (error) => {
          throw error;
        });
        const tables = [tableInMemory(), tableInFile(file)] as const;
        let round = 0;
        const answer = (table: DigestTable, asked: (typeof questions)[number]): unknown => {
          if (asked.ask === "next round") return undefined;
          const { image, vaddr } = asked.place;
          const pages = Math.min(asked.place.pages, (REGION_BYTES - (vaddr % REGION_BYTES)) / PAGE_BYTES);
          switch (asked.ask) {
            case "compare":
              return verdictsOf(table, round, vaddr, Buffer.alloc(pages * PAGE_BYTES, asked.letter), image);
            case "tell":
              return table.tell(image, round, vaddr, pages);
            case "told":
              return table.wasTold(image, round, vaddr);
            case "run": {
              const written = new PageSet();
              if (asked.written !== null) written.add({ start: asked.written.vaddr, pages: asked.written.pages });
              return table.runFrom(image, round, vaddr, pages, written);
            }
          }
        };
        for (const asked of questions) {
          if (asked.ask === "next round") round++;
          expect(answer(tables[1], asked)).toEqual(answer(tables[0], asked));
        }
        for (const table of tables) table.close();
      }),
      { numRuns: 200 },
    );
  } finally {
    await rm(directory, { recursive: true });
  }
});
