import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type ImageId, LAZY, PAGE_BYTES, PARENT, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamDecoder } from "./decoder.ts";
import { MemoryStreamEncoder } from "./encoder.ts";

interface Range {
  readonly vaddr: number;
  readonly pages: number;
  readonly flags: number;
}

const image: fc.Arbitrary<ImageId> = fc.record({
  kind: fc.constantFrom("task" as const, "shared" as const),
  id: fc.nat(1 << 30),
});
const ranges: fc.Arbitrary<Range[]> = fc
  .array(
    fc.record({
      gap: fc.nat(5),
      pages: fc.integer({ min: 1, max: 4 }),
      flags: fc.constantFrom(PRESENT, PARENT, LAZY, PRESENT | LAZY, PARENT | LAZY),
    }),
    { maxLength: 300 },
  )
  .map((drawn) => {
    let at = 0x7f00_0000_0000;
    return drawn.map(({ gap, pages, flags }) => {
      const vaddr = at + gap * PAGE_BYTES;
      at = vaddr + pages * PAGE_BYTES;
      return { vaddr, pages, flags };
    });
  });
const images = fc.array(fc.record({ image, ranges }), { maxLength: 4 });

/** Each page holds its own address. */
function contentOf({ vaddr, pages }: Range): Buffer {
  const content = Buffer.alloc(pages * PAGE_BYTES);
  for (let page = 0; page < pages; page++) content.writeDoubleLE(vaddr + page * PAGE_BYTES, page * PAGE_BYTES);
  return content;
}

function encode(all: readonly { image: ImageId; ranges: readonly Range[] }[]): Buffer {
  const encoder = new MemoryStreamEncoder();
  const chunks: Buffer[] = [];
  const take = (pieces: Iterable<Buffer>) => {
    // The encoder uses its page again.
    for (const piece of pieces) chunks.push(Buffer.from(piece));
  };
  for (const { image, ranges } of all) {
    take(encoder.open(image));
    for (const range of ranges) {
      const content = (range.flags & PRESENT) === 0 ? undefined : contentOf(range);
      take(encoder.range(range.vaddr, range.pages, range.flags, content));
    }
  }
  take(encoder.end());
  return Buffer.concat(chunks);
}

function decode(stream: Buffer, cuts: readonly number[]): unknown[] {
  const decoder = new MemoryStreamDecoder();
  const seen: unknown[] = [];
  let content: Buffer[] = [];
  const settle = () => {
    if (content.length > 0) seen.push(Buffer.concat(content));
    content = [];
  };
  const bounds = [0, ...cuts.map((cut) => cut % (stream.length + 1)).sort((a, b) => a - b), stream.length];
  for (const [index, from] of bounds.slice(0, -1).entries()) {
    for (const event of decoder.decode(stream.subarray(from, bounds[index + 1]))) {
      if (event.kind === "content") content.push(Buffer.from(event.bytes));
      else {
        settle();
        seen.push(event);
      }
    }
  }
  settle();
  decoder.finish();
  return seen;
}

test("what was encoded comes out, however the bytes are cut", () => {
  fc.assert(
    fc.property(images, fc.array(fc.nat(), { maxLength: 20 }), (all, cuts) => {
      const expected = all.flatMap(({ image, ranges }) => [
        { kind: "open", image },
        ...ranges.flatMap((range) => [
          { kind: "range", ...range },
          ...((range.flags & PRESENT) === 0 ? [] : [contentOf(range)]),
        ]),
      ]);
      expect(decode(encode(all), cuts)).toEqual([...expected, { kind: "end" }]);
    }),
    { numRuns: 60 },
  );
});

test("a stream that was cut off is noticed", () => {
  fc.assert(
    fc.property(images, fc.nat(), (all, cut) => {
      const stream = encode(all);
      expect(() => decode(stream.subarray(0, cut % stream.length), [])).toThrow(DrayError);
    }),
    { numRuns: 60 },
  );
});

test("a changed byte gives other content or an error of ours, and never anything else", () => {
  fc.assert(
    fc.property(images, fc.nat(), fc.integer({ min: 1, max: 255 }), (all, place, change) => {
      const stream = encode(all);
      const at = place % stream.length;
      stream[at] = (stream[at] as number) ^ change;
      try {
        decode(stream, []);
      } catch (error) {
        expect(error).toBeInstanceOf(DrayError);
      }
    }),
    { numRuns: 200 },
  );
});

test("a range without its content is refused before anything is sent", () => {
  const encoder = new MemoryStreamEncoder();
  expect(() => [...encoder.range(PAGE_BYTES, 1, PRESENT)]).toThrow(RangeError);
});

test("pages that repeat others refer to what has come, and to nothing else", () => {
  const encoder = new MemoryStreamEncoder();
  const chunks: Buffer[] = [];
  const take = (pieces: Iterable<Buffer>) => {
    for (const piece of pieces) chunks.push(Buffer.from(piece));
  };
  const first = { vaddr: PAGE_BYTES, pages: 3, flags: PRESENT };
  take(encoder.open({ kind: "task", id: 1 }));
  take(encoder.range(first.vaddr, first.pages, first.flags, contentOf(first)));
  take(encoder.repeat(8 * PAGE_BYTES, 2, PRESENT | LAZY, 1));
  // One that was repeated counts as well.
  take(encoder.repeat(16 * PAGE_BYTES, 2, PRESENT, 3));
  take(encoder.end());
  expect(decode(Buffer.concat(chunks), []).slice(2)).toEqual([
    contentOf(first),
    { kind: "repeat", vaddr: 8 * PAGE_BYTES, pages: 2, flags: PRESENT | LAZY, from: 1 },
    { kind: "repeat", vaddr: 16 * PAGE_BYTES, pages: 2, flags: PRESENT, from: 3 },
    { kind: "end" },
  ]);
  const refused = (vaddr: number, pages: number, flags: number, from: number) => {
    const other = new MemoryStreamEncoder();
    const stream = [...other.open({ kind: "task", id: 1 }), ...other.repeat(vaddr, pages, flags, from), ...other.end()];
    return () => decode(Buffer.concat(stream), []);
  };
  expect(refused(PAGE_BYTES, 1, PRESENT, 0)).toThrow("repeats 1 pages from 0 on, of 0");
  expect(() => [...encoder.repeat(PAGE_BYTES, 1, PARENT, 0)]).toThrow(RangeError);
});

test("changes come with the pages that they are of, however many, among others", () => {
  const encoder = new MemoryStreamEncoder();
  const chunks: Buffer[] = [];
  const take = (pieces: Iterable<Buffer>) => {
    for (const piece of pieces) chunks.push(Buffer.from(piece));
  };
  const changes = Array.from({ length: 400 }, (_, index) => Buffer.alloc(index % 2 === 0 ? 5 : 2000, index));
  take(encoder.open({ kind: "task", id: 1 }));
  for (const [index, change] of changes.entries()) take(encoder.delta(index * PAGE_BYTES, PRESENT, change));
  const last = { vaddr: changes.length * PAGE_BYTES, pages: 2, flags: PRESENT };
  take(encoder.range(last.vaddr, last.pages, last.flags, contentOf(last)));
  take(encoder.repeat(last.vaddr + 2 * PAGE_BYTES, 2, PRESENT, 399));
  take(encoder.end());
  const stream = Buffer.concat(chunks);
  const decoder = new MemoryStreamDecoder();
  const seen: Buffer[] = [];
  let others = 0;
  for (let at = 0; at < stream.length; at += 5000) {
    for (const event of decoder.decode(stream.subarray(at, at + 5000))) {
      if (event.kind === "delta") seen.push(Buffer.from(event.change));
      else others++;
    }
  }
  decoder.finish();
  expect(seen).toEqual(changes);
  expect(others).toBeGreaterThanOrEqual(5);
  const refused = new MemoryStreamEncoder();
  const short = [...refused.open({ kind: "task", id: 1 }), ...refused.delta(PAGE_BYTES, PRESENT, Buffer.alloc(9))];
  const whole = Buffer.concat([...short, ...refused.end()].map((piece) => Buffer.from(piece)));
  // Says that there is less of it than its record does.
  whole.writeUInt32LE(0, 4092);
  expect(() => decode(whole, [])).toThrow("a change of 9 bytes where there are 0");
});
