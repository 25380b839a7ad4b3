import { expect, test } from "vitest";
import { PAGE_BYTES, PARENT } from "../memory-image/page-range.ts";
import { MemoryStreamDecoder } from "../memory-stream/decoder.ts";
import { PageSource } from "./page-source.ts";

const BASE = 0x7f0000000000;
const at = (page: number) => BASE + page * PAGE_BYTES;

test("of memory that the copy has, it tells in the order in which it is wanted, and then of the rest", async () => {
  const source = new PageSource(
    [1, 7].map((pid) => ({ pid, read: null, written: null })),
    null,
  );
  source.onWord({
    missing: [
      [1, at(0), 40],
      [7, at(0), 3],
    ],
  });
  source.onWord({ fault: [7, at(1)] });
  const decoder = new MemoryStreamDecoder();
  const told: [pid: number, page: number, pages: number, flags: number][] = [];
  let pid = 0;
  for await (const chunk of source.chunks()) {
    for (const event of decoder.decode(chunk)) {
      if (event.kind === "open") pid = event.image.id;
      else if (event.kind === "range") told.push([pid, (event.vaddr - BASE) / PAGE_BYTES, event.pages, event.flags]);
    }
    if (told.reduce((sum, [, , pages]) => sum + pages, 0) === 43) source.onWord({ complete: true });
  }
  decoder.finish();
  expect(told[0]).toEqual([7, 1, 2, PARENT]);
  const pages = told.flatMap(([owner, first, count]) =>
    Array.from({ length: count }, (_, index) => `${owner} ${first + index}`),
  );
  expect(new Set(pages).size).toBe(43);
  expect(told.every(([, , , flags]) => flags === PARENT)).toBe(true);
});

test("it ends with the error of whoever gives it up", async () => {
  const source = new PageSource([{ pid: 1, read: null, written: null }], null);
  const reading = (async () => {
    for await (const _ of source.chunks());
  })();
  source.fail(new Error("given up"));
  await expect(reading).rejects.toThrow("given up");
});
