import fc from "fast-check";
import { expect, test } from "vitest";
import { ancestors } from "./layer-path.ts";
import { NOWHERE, PathTree } from "./path-tree.ts";

// Few names, so that paths share directories and one's directory is another's file; every byte a name can have.
const name = fc.oneof(
  fc.constantFrom("a", "b", "ab", "c".repeat(255)),
  fc
    .uint8Array({ min: 1, minLength: 1, maxLength: 5 })
    .map((bytes) => Buffer.from(bytes.map((byte) => (byte === 0x2f ? 0x30 : byte))).toString("latin1")),
);
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join("/"));

test("every path that was added is found under one number, with what leads to it, and no other is", () => {
  fc.assert(
    fc.property(fc.array(path, { maxLength: 60 }), fc.array(path, { maxLength: 20 }), (added, asked) => {
      const tree = new PathTree();
      const numbers = new Map([["", 0]]);
      for (const each of added) {
        const number = tree.add(each);
        expect(numbers.get(each) ?? number).toBe(number);
        numbers.set(each, number);
        for (const directory of ancestors(each)) numbers.set(directory, tree.find(directory));
      }
      expect(tree.size).toBe(numbers.size);
      expect(new Set(numbers.values()).size).toBe(numbers.size);
      for (const each of [...added, ...asked]) expect(tree.find(each)).toBe(numbers.get(each) ?? NOWHERE);
      for (const [each, number] of numbers) {
        expect(tree.path(number)).toBe(each);
        if (number > 0) expect(tree.parent(number)).toBeLessThan(number);
      }
      expect([...tree.paths(() => true)].sort()).toEqual([...numbers.keys()].sort());
      expect([...tree.paths((number) => number % 2 === 1)].map((each) => numbers.get(each) as number)).toEqual(
        [...numbers.values()].filter((number) => number % 2 === 1).sort((a, b) => a - b),
      );
    }),
  );
});

test("a hundred thousand paths stay apart", () => {
  const tree = new PathTree();
  const nth = (n: number) => `directory-${n % 100}/of-these/file-${n}`;
  for (let n = 0; n < 100_000; n++) tree.add(nth(n));
  for (let n = 0; n < 100_000; n += 777) expect(tree.path(tree.find(nth(n)))).toBe(nth(n));
  expect(tree.size).toBe(1 + 200 + 100_000);
  expect(tree.find(nth(100_000))).toBe(NOWHERE);
});
