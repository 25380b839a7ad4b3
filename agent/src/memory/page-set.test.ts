import fc from "fast-check";
import { expect, test } from "vitest";
import { PageSet } from "./page-set.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";

const BASE = 0x7f00_0000_0000;
const range = fc.record({ at: fc.nat(3000), pages: fc.integer({ min: 1, max: 700 }) });
const steps = fc.array(fc.record({ add: fc.boolean(), range }), { minLength: 1, maxLength: 20 });

test("behaves as a set of page numbers", () => {
  fc.assert(
    fc.property(steps, fc.nat(4000), fc.integer({ min: 1, max: 600 }), (all, place, limit) => {
      const set = new PageSet();
      const model = new Set<number>();
      for (const { add, range } of all) {
        const pages = { start: BASE + range.at * PAGE_BYTES, pages: range.pages };
        if (add) set.add(pages);
        else set.delete(pages);
        for (let page = range.at; page < range.at + range.pages; page++) {
          if (add) model.add(page);
          else model.delete(page);
        }
      }
      const address = BASE + place * PAGE_BYTES;
      expect(set.size).toBe(model.size);
      expect(set.has(address)).toBe(model.has(place));
      const sorted = [...model].sort((a, b) => a - b);
      const next = sorted.find((page) => page >= place) ?? sorted[0];
      expect(set.nextFrom(address)).toBe(next === undefined ? undefined : BASE + next * PAGE_BYTES);
      let run = 0;
      while (run < limit && model.has(place + run) && (run === 0 || (place + run) % 512 !== 0)) run++;
      expect(set.runFrom(address, limit)).toBe(run);
    }),
    { numRuns: 300 },
  );
});
