import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { resolveLevel } from "./image-chain.ts";
import { endOf, LAZY, PAGE_BYTES, type PageRange, PARENT, PRESENT } from "./page-range.ts";
import {
  contentBytes,
  encodePagemapEntry,
  encodePagemapHead,
  imageOfPagemapName,
  joinRanges,
  pagemapName,
  parsePagemap,
} from "./pagemap-image.ts";
import { RangeList } from "./range-list.ts";
import { SegmentList } from "./segment-list.ts";

/** Ascending ranges anywhere in the address space. */
const rangesArbitrary: fc.Arbitrary<PageRange[]> = fc
  .array(
    fc.tuple(
      fc.oneof(fc.nat(3), fc.integer({ min: 0, max: 2 ** 40 })),
      fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constant(2 ** 28)),
      fc.constantFrom(PRESENT, PRESENT | LAZY, LAZY, PARENT),
    ),
    { maxLength: 12 },
  )
  .map((gaps) => {
    let at = 0;
    return gaps.map(([gap, pages, flags]) => {
      const vaddr = at + gap * PAGE_BYTES;
      at = vaddr + pages * PAGE_BYTES;
      return { vaddr, pages, flags };
    });
  });

function encode(pagesId: number, ranges: readonly PageRange[]): Buffer {
  return Buffer.concat([encodePagemapHead(pagesId), ...ranges.map(encodePagemapEntry)]);
}

/** An entry of these bytes behind a sound head. */
function withEntry(...bytes: number[]): Buffer {
  return Buffer.concat([encodePagemapHead(1), Buffer.from([bytes.length, 0, 0, 0, ...bytes])]);
}

function outcomeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return error instanceof DrayError ? `${error.reason}: ${error.message}` : `not ours: ${error}`;
  }
  return "accepted";
}

describe("a pagemap image", () => {
  test("comes back as it was", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), rangesArbitrary, (pagesId, ranges) => {
        expect(parsed(encode(pagesId, ranges))).toEqual({ pagesId, ranges });
      }),
    );
  });

  test("is laid out as by CRIU from 4.2 on, but for the count that older ones read", () => {
    // vaddr 0x7ffd1e9c5000, compat_nr_pages 0, flags PRESENT, nr_pages 3.
    const laidOut = withEntry(0x08, 0x80, 0xa0, 0xf1, 0xf4, 0xd1, 0xff, 0x1f, 0x10, 0, 0x20, 4, 0x28, 3);
    const range = { vaddr: 0x7ffd_1e9c_5000, pages: 3, flags: PRESENT };
    expect(parsed(laidOut)).toEqual({ pagesId: 1, ranges: [range] });
    const ours = Buffer.from(laidOut);
    ours[ours.length - 5] = 3;
    expect(encode(1, [range]).toString("hex")).toBe(ours.toString("hex"));
  });

  test.each<[string, number[], Partial<PageRange>]>([
    ["only the old count", [0x08, 0, 0x10, 2], { pages: 2, flags: PRESENT }],
    ["in_parent", [0x08, 0, 0x10, 2, 0x18, 1], { pages: 2, flags: PARENT }],
    ["in_parent, and flags that say so too", [0x08, 0, 0x10, 2, 0x18, 1, 0x20, 1], { flags: PARENT }],
    ["not in_parent", [0x08, 0, 0x10, 2, 0x18, 0], { flags: PRESENT }],
    ["fields in another order", [0x28, 2, 0x20, 2, 0x10, 0, 0x08, 0], { pages: 2, flags: LAZY }],
  ])("of another version: %s", (_what, bytes, range) => {
    expect(parsed(withEntry(...bytes)).ranges).toMatchObject([range]);
  });

  test.each<[string, Buffer]>([
    ["it is none", Buffer.alloc(0)],
    ["it is none", Buffer.from("not an image")],
    ["it has no head", encodePagemapHead(1).subarray(0, 8)],
    ["cut short", encodePagemapHead(1).subarray(0, 13)],
    ["cut short", Buffer.concat([encodePagemapHead(1), Buffer.from([1, 0])])],
    ["its head is none", Buffer.concat([encodePagemapHead(1).subarray(0, 8), encodePagemapEntry(zeroPage(PRESENT))])],
    ["an entry of 65 bytes", withEntry(...Array.from({ length: 65 }, () => 0))],
    ["an entry that is cut short", withEntry(0x08)],
    ["an entry that is cut short", withEntry(0x08, 0x80)],
    ["without address or count", withEntry(0x28, 1)],
    ["an entry of 1 and of 2 pages", withEntry(0x08, 0, 0x10, 1, 0x28, 2)],
    ["a range with flags 0", withEntry(0x08, 0, 0x10, 1, 0x20, 0)],
    ["a range with flags 5", withEntry(0x08, 0, 0x10, 1, 0x18, 1, 0x20, 4)],
    ["a range of 0 pages", withEntry(0x08, 0, 0x10, 0)],
    ["inside of a page", withEntry(0x08, 1, 0x10, 1)],
    ["outside of the address space", withEntry(0x08, ...Array.from({ length: 8 }, () => 0x80), 1, 0x10, 1)],
    ["too large", withEntry(0x08, 0x81, ...Array.from({ length: 6 }, () => 0x80), 0x7f, 0x10, 1)],
    ["an unknown field, tag 48", withEntry(0x08, 0, 0x10, 1, 0x30, 1)],
    ["an unknown field, tag 10", withEntry(0x0a, 0)],
    ["behind one that ends at 1000", encode(1, [zeroPage(PRESENT), zeroPage(PARENT)])],
  ])("is refused: %s", (message, image) => {
    expect(outcomeOf(() => parsePagemap(image))).toMatch(/^CORRUPT_STREAM: /);
    expect(outcomeOf(() => parsePagemap(image))).toContain(message);
  });

  test("whose bytes were changed is refused, or another one", () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(rangesArbitrary, changes, fc.nat(), (ranges, changed, length) => {
        const image = encode(1, ranges);
        for (const [place, value] of changed) image[place % image.length] = value;
        const cut = image.subarray(0, length % 3 === 0 ? length % image.length : image.length);
        expect(outcomeOf(() => parsePagemap(cut))).toMatch(/^CORRUPT_STREAM: |^accepted$/);
      }),
      { numRuns: 1000 },
    );
  });

  test("is named after what it belongs to", () => {
    for (const kind of ["task", "shared"] as const) {
      const image = { kind, id: 65_536 };
      expect(imageOfPagemapName(pagemapName(image))).toEqual(image);
    }
    expect(pagemapName({ kind: "shared", id: 3 })).toBe("pagemap-shmem-3.img");
    for (const name of ["pagemap-.img", "pagemap-01.img", "pagemap-1", "pagemap-9999999999999999.img", "pages-1.img"]) {
      expect(imageOfPagemapName(name), name).toBeNull();
    }
  });
});

test("ranges are joined where nothing tells them apart", () => {
  const range = { vaddr: 4096, pages: 2, flags: PRESENT };
  expect(joinRanges(range, { vaddr: endOf(range), pages: 3, flags: PRESENT })).toEqual({ ...range, pages: 5 });
  expect(joinRanges(range, { vaddr: endOf(range), pages: 3, flags: PARENT })).toBeNull();
  expect(joinRanges(range, { vaddr: endOf(range) + PAGE_BYTES, pages: 3, flags: PRESENT })).toBeNull();
  expect(joinRanges({ ...range, pages: 2 ** 18 }, { vaddr: 2 ** 30 + 4096, pages: 1, flags: PRESENT })).toBeNull();
});

describe("a chain of pagemaps", () => {
  test("of any ranges is resolved without a page gained or lost, or refused", () => {
    fc.assert(
      fc.property(fc.array(rangesArbitrary, { minLength: 1, maxLength: 4 }), (levels) => {
        let segments = new SegmentList(0);
        try {
          for (const [level, ranges] of [...levels.entries()].reverse()) {
            segments = resolveLevel(listOf(ranges), level, segments);
          }
        } catch (error) {
          expect(error).toMatchObject({ reason: "CORRUPT_STREAM" });
          return;
        }
        const pagesOf = (ranges: Iterable<{ pages: number }>) => [...ranges].reduce((sum, { pages }) => sum + pages, 0);
        expect(pagesOf(segments)).toBe(pagesOf(levels[0] ?? []));
        for (const range of levels[0] ?? []) {
          expect(segments.hasContent(range)).toBe(range.flags !== LAZY);
          if (range.flags === LAZY) continue;
          const content = [...segments.piecesOf(range)];
          expect(pagesOf(content)).toBe(range.pages);
          if ((range.flags & PRESENT) !== 0) expect(content.map(({ level }) => level)).toEqual([0]);
        }
        for (const { level, offset, pages } of segments) {
          if (level === null) continue;
          expect(offset + pages * PAGE_BYTES).toBeLessThanOrEqual(contentBytes(levels[level] ?? []));
        }
      }),
    );
  });

  test("does not take pages from a round that has yet to fetch them", () => {
    const parent = resolveLevel(listOf([zeroPage(LAZY)]), 1, new SegmentList(0));
    const outcome = outcomeOf(() => resolveLevel(listOf([zeroPage(PARENT)]), 0, parent));
    expect(outcome).toBe("CORRUPT_STREAM: the parent does not have all of 0-1000");
  });
});

function listOf(ranges: readonly PageRange[]): RangeList {
  const list = new RangeList(ranges.length);
  for (const range of ranges) list.push(range);
  return list;
}

function parsed(image: Buffer) {
  const { pagesId, ranges } = parsePagemap(image);
  return { pagesId, ranges: [...ranges] };
}

function zeroPage(flags: number): PageRange {
  return { vaddr: 0, pages: 1, flags };
}
