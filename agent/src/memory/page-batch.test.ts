import { expect, test } from "vitest";
import { LAZY, PAGE_BYTES, PARENT, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamDecoder } from "../memory-stream/decoder.ts";
import { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import type { DigestTable } from "./digest-table.ts";
import { PageBatch } from "./page-batch.ts";
import { tableInMemory } from "./testing/digest-tables.ts";

const BASE = 0x7f0000000000;

/** Pages by their letter, `true` for those that a restore may leave out; as ranges of a round that follows such rounds. */
function ranges(digests: DigestTable, round: number, pages: readonly (readonly [letter: string, lazy: boolean])[]) {
  const batch = new PageBatch(new MemoryStreamEncoder(), { digests, round, repeated: null, changing: null });
  const decoder = new MemoryStreamDecoder();
  const found: [page: number, pages: number, flags: number][] = [];
  const read = (chunks: Iterable<Buffer>) => {
    for (const chunk of chunks) {
      for (const event of decoder.decode(chunk)) {
        if (event.kind === "range") found.push([(event.vaddr - BASE) / PAGE_BYTES, event.pages, event.flags]);
      }
    }
  };
  read(batch.open({ kind: "task", id: 1 }));
  for (const [index, [letter, lazy]] of pages.entries()) {
    const address = BASE + index * PAGE_BYTES;
    batch.space(address, 1).fill(letter);
    batch.add(address, 1, { isLazy: lazy });
  }
  read(batch.drain());
  read(batch.end());
  decoder.finish();
  return found;
}

test("pages that a restore may leave out stay apart from the others, sent or not", () => {
  const digests = tableInMemory();
  const first = [
    ["a", true],
    ["b", true],
    ["c", false],
    ["d", false],
    ["e", true],
  ] as const;
  expect(ranges(digests, 0, first)).toEqual([
    [0, 1, PRESENT | LAZY],
    [1, 1, PRESENT | LAZY],
    [2, 1, PRESENT],
    [3, 1, PRESENT],
    [4, 1, PRESENT | LAZY],
  ]);
  const second = first.map(([letter, lazy], index) => [index === 1 ? "x" : letter, lazy] as const);
  expect(ranges(digests, 1, second)).toEqual([
    [0, 1, PARENT | LAZY],
    [1, 1, PRESENT | LAZY],
    [2, 2, PARENT],
    [4, 1, PARENT | LAZY],
  ]);
});
