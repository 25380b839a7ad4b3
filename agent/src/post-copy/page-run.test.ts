import fc from "fast-check";
import { expect, test } from "vitest";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { PageRun } from "./page-run.ts";
import { MAX_PAGES_PER_FRAME } from "./protocol.ts";

interface Placed {
  readonly task: number;
  /** Number of the first page. */
  readonly page: number;
  readonly letters: readonly number[];
}

function gather() {
  const placed: Placed[] = [];
  const run = new PageRun(async (task, address, pages) => {
    expect(pages.length % PAGE_BYTES).toBe(0);
    const letters = Array.from({ length: pages.length / PAGE_BYTES }, (_, page) => {
      const content = pages.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
      expect(content.equals(Buffer.alloc(PAGE_BYTES, content[0]))).toBe(true);
      return content[0] as number;
    });
    placed.push({ task, page: address / PAGE_BYTES, letters });
  });
  const add = async (content: Buffer) => {
    for (let done = 0; done < content.length; ) {
      const space = await run.space(content.length - done);
      const bytes = content.copy(space, 0, done);
      run.add(bytes);
      done += bytes;
    }
  };
  return { run, add, placed };
}

const page = (letter: number) => Buffer.alloc(PAGE_BYTES, letter);

test("pages that follow each other are placed as one, wherever each comes from", async () => {
  const { run, add, placed } = gather();
  for (const [task, at, letter] of [
    [1, 5, 50],
    [1, 6, 60],
    [1, 7, 70],
    [1, 9, 90],
    [2, 10, 100],
  ] as const) {
    await run.begin(task, at * PAGE_BYTES);
    await add(page(letter));
  }
  await run.settle();
  await run.settle();
  expect(placed).toEqual([
    { task: 1, page: 5, letters: [50, 60, 70] },
    { task: 1, page: 9, letters: [90] },
    { task: 2, page: 10, letters: [100] },
  ]);
});

test("what is not a whole page yet waits for the rest", async () => {
  const { run, add, placed } = gather();
  await run.begin(1, 0);
  await add(Buffer.concat([page(1), page(2).subarray(100)]));
  await run.settle();
  await add(page(2).subarray(0, 100));
  await run.settle();
  expect(placed.map(({ page: at, letters }) => [at, letters])).toEqual([
    [0, [1]],
    [1, [2]],
  ]);
});

test("everything comes to its place, once, in whatever pieces", async () => {
  const runs = fc.array(fc.tuple(fc.nat(2), fc.nat(3), fc.integer({ min: 1, max: 300 })), {
    minLength: 1,
    maxLength: 6,
  });
  await fc.assert(
    fc.asyncProperty(runs, fc.integer({ min: 500, max: 200_000 }), fc.boolean(), async (all, pieceBytes, settles) => {
      const { run, add, placed } = gather();
      const expected = new Map<string, number>();
      let at = 0;
      for (const [task, gap, pages] of all) {
        at += gap;
        await run.begin(task, at * PAGE_BYTES);
        const content = Buffer.concat(
          Array.from({ length: pages }, (_, index) => {
            expected.set(`${task} ${at + index}`, (at + index) % 251);
            return page((at + index) % 251);
          }),
        );
        for (let done = 0; done < content.length; done += pieceBytes) {
          await add(content.subarray(done, done + pieceBytes));
          if (settles) await run.settle();
        }
        at += pages;
      }
      await run.settle();
      const found = placed.flatMap(({ task, page: first, letters }) =>
        letters.map((letter, index) => [`${task} ${first + index}`, letter] as const),
      );
      expect(found).toHaveLength(expected.size);
      expect(new Map(found)).toEqual(expected);
      expect(Math.max(...placed.map(({ letters }) => letters.length))).toBeLessThanOrEqual(MAX_PAGES_PER_FRAME);
    }),
    { numRuns: 30 },
  );
});
