/** Against a kernel of a few pages, which gives frames out again at once to whoever writes, and leaves out marks where Linux does. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { PageSet, REGION_BYTES } from "./page-set.ts";
import { type NotedMemory, WriteTracking } from "./write-tracking.ts";

const BASE = 0x7f00_0000_0000;
const REGIONS = 3;
/** Of those that a table has, the ones that are used here. */
const PAGES = 4;

interface Page {
  readonly frame: number;
  readonly content: number;
  readonly isMarked: boolean;
}

const addressOf = (region: number, page: number) => BASE + region * REGION_BYTES + page * PAGE_BYTES;

class Process implements NotedMemory {
  readonly task = { pid: 100, innerPid: 1 };
  startTime = "7";
  hasAsynchronousIo = false;
  readonly #tables: (Page | undefined)[][] = Array.from({ length: REGIONS }, () => []);
  readonly #free: number[] = [];
  #frames = 0;
  #contents = 0;

  write(region: number, page: number): void {
    const before = this.#tables[region]?.[page];
    const frame = before?.frame ?? this.#free.pop() ?? ++this.#frames;
    this.#set(region, page, { frame, content: ++this.#contents, isMarked: true });
  }

  giveBack(region: number, page: number): void {
    const before = this.#tables[region]?.[page];
    if (before !== undefined) this.#free.push(before.frame);
    this.#set(region, page, undefined);
  }

  /** mremap(2) of a whole table onto another: no page gets a mark. */
  move(from: number, to: number): void {
    if (from === to) return;
    for (let page = 0; page < PAGES; page++) this.giveBack(to, page);
    for (let page = 0; page < PAGES; page++) this.#set(to, page, this.#tables[from]?.[page]);
    for (let page = 0; page < PAGES; page++) this.#set(from, page, undefined);
  }

  /**
   * To another frame, with its content and its mark, as compaction does. To any but one that was given back lately: that
   * it hits just the frame of what was there before is the coincidence that limits.md names.
   */
  migrate(region: number, page: number): void {
    const before = this.#tables[region]?.[page];
    if (before === undefined) return;
    this.#set(region, page, { ...before, frame: ++this.#frames });
    this.#free.push(before.frame);
  }

  contents(): Map<number, number> {
    const all = this.#all().map(({ address, page }) => [address, page.content] as const);
    return new Map(all);
  }

  writtenPages(): PageSet {
    const written = new PageSet();
    for (const { address, page } of this.#all()) if (page.isMarked) written.add({ start: address, pages: 1 });
    return written;
  }

  *privateSpans() {
    for (const { address } of this.#all()) yield { vaddr: address, pages: 1 };
  }

  frameOf(address: number): number | null {
    return this.#all().find((each) => each.address === address)?.page.frame ?? null;
  }

  forgetWrites(): boolean {
    for (const table of this.#tables) {
      for (const [index, page] of table.entries()) if (page !== undefined) table[index] = { ...page, isMarked: false };
    }
    return true;
  }

  close(): void {}

  #set(region: number, page: number, value: Page | undefined): void {
    (this.#tables[region] as (Page | undefined)[])[page] = value;
  }

  #all() {
    return this.#tables.flatMap((table, region) =>
      table.flatMap((page, index) => (page === undefined ? [] : [{ address: addressOf(region, index), page }])),
    );
  }
}

const region = fc.nat(REGIONS - 1);
const page = fc.nat(PAGES - 1);
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("write" as const), region, page }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("giveBack" as const), region, page }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("migrate" as const), region, page }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("move" as const), region, page: region }) },
);

function tracking(process: Process, state = { isStill: true, mergesPages: false }) {
  return new WriteTracking({
    open: async () => [process],
    isStill: async () => state.isStill,
    mergesPages: () => state.mergesPages,
  });
}

test("a page that counts as unwritten has the content that it had, whatever was done to it and its tables", async () => {
  let trusted = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(step, { maxLength: 12 }), { minLength: 2, maxLength: 5 }), async (rounds) => {
      const process = new Process();
      const noting = tracking(process);
      let before = new Map<number, number>();
      for (const steps of rounds) {
        for (const { do: deed, region, page } of steps) process[deed](region, page);
        const written = (await noting.renew()).of(process);
        for (const [address, content] of process.contents()) {
          if (written === null || written.has(address) || !before.has(address)) continue;
          expect(content).toBe(before.get(address));
          trusted++;
        }
        before = process.contents();
      }
    }),
    { numRuns: 2000 },
  );
  // It does not get there by mistrusting everything.
  expect(trusted).toBeGreaterThan(1000);
});

test("of what it cannot vouch for, nothing is known", async () => {
  const state = { isStill: true, mergesPages: false };
  const process = new Process();
  const noting = tracking(process, state);
  const known = async () => (await noting.renew()).of(process) !== null;
  process.write(0, 0);
  expect(await known()).toBe(false);
  expect(await known()).toBe(true);
  // Another process has its pid.
  process.startTime = "8";
  expect(await known()).toBe(false);
  expect(await known()).toBe(true);
  process.hasAsynchronousIo = true;
  expect(await known()).toBe(false);
  process.hasAsynchronousIo = false;
  expect(await known()).toBe(false);
  expect(await known()).toBe(true);
  state.mergesPages = true;
  expect(await known()).toBe(false);
  state.mergesPages = false;
  expect(await known()).toBe(true);
  // Somebody has let it go on while it was asked: neither this answer counts nor the next.
  state.isStill = false;
  expect(await known()).toBe(false);
  state.isStill = true;
  expect(await known()).toBe(false);
});
