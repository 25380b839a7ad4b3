import { expect, test } from "vitest";
import { differencesOf } from "./leftovers.ts";

test("names what is new and what is lost", () => {
  const before = { container: ["a", "b"], mount: ["/x"] };
  const after = { container: ["b", "c"], table: ["inet drayage_1"] };
  expect(differencesOf("n1", before, after)).toEqual([
    "n1: new container c",
    "n1: lost container a",
    "n1: lost mount /x",
    "n1: new table inet drayage_1",
  ]);
});
