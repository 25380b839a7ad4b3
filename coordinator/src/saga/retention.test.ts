import { expect, test } from "vitest";
import { expired } from "./retention.ts";

type Outcome = "completed" | "failed" | null;

function migration(createRevision: number, containerUuid: string, outcome: Outcome) {
  const phase = outcome === null ? ("switch" as const) : ("done" as const);
  return { createRevision, record: { phase, outcome, containerUuid } };
}

const revisions = (stored: readonly { readonly createRevision: number }[]) =>
  stored.map(({ createRevision }) => createRevision);

test("the oldest that have ended go", () => {
  const stored = [4, 1, 3, 2].map((revision) => migration(revision, `c${revision}`, "completed"));
  expect(revisions(expired(stored, 2))).toEqual([2, 1]);
  expect(expired(stored, 4)).toEqual([]);
});

test("one that has not ended stays, and takes no other's place", () => {
  const stored = [migration(1, "a", null), migration(2, "b", "completed"), migration(3, "c", "completed")];
  expect(revisions(expired(stored, 2))).toEqual([]);
  expect(revisions(expired(stored, 1))).toEqual([2]);
});

test("a failed one by which a frozen container can be taken back stays", () => {
  const stored = [
    migration(1, "frozen", "failed"),
    migration(2, "moved on", "failed"),
    migration(3, "moved on", "completed"),
    migration(4, "other", "completed"),
  ];
  expect(revisions(expired(stored, 1))).toEqual([3, 2]);
});
