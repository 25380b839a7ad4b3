import { expect, test } from "vitest";
import { PROGRAM, WORKLOADS } from "./memory-workload.ts";

test("every kind that the program knows is moved", () => {
  const table = /^KINDS = \{(.*)\}$/m.exec(PROGRAM)?.[1] ?? "";
  const known = [...table.matchAll(/"(\w+)":/g)].map(([, kind]) => kind);
  expect(known.length).toBeGreaterThan(0);
  expect(WORKLOADS.map(({ kind }) => kind)).toEqual(known);
});
