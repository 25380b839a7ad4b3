import { expect, test } from "vitest";
import { beyondKept } from "./retention.ts";

function migration(createRevision: number, phase: "switch" | "done" = "done") {
  return { createRevision, record: { phase } };
}

const revisions = (stored: readonly { readonly createRevision: number }[]) =>
  stored.map(({ createRevision }) => createRevision);

test("the oldest that have ended go", () => {
  const stored = [4, 1, 3, 2].map((revision) => migration(revision));
  expect(revisions(beyondKept(stored, 2))).toEqual([2, 1]);
  expect(beyondKept(stored, 4)).toEqual([]);
});

test("one that has not ended stays, and takes no other's place", () => {
  const stored = [migration(1, "switch"), migration(2), migration(3)];
  expect(beyondKept(stored, 2)).toEqual([]);
  expect(revisions(beyondKept(stored, 1))).toEqual([2]);
});
