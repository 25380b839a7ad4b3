import type { OwnerRecord } from "@drayage/shared/state/owner.ts";
import { abort, commit, confirmRunning, enterSwitch, giveBack } from "@drayage/shared/state/owner.ts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { verdictOf } from "./ownership.ts";

const start: OwnerRecord = { uuid: "u", node: "n1", epoch: 7, state: "running", migrationId: "" };
const question = { migrationId: "m", epoch: 7, source: "n1" };
const rules = {
  enter: (record: OwnerRecord) => enterSwitch(record, 7, "n1", "m"),
  commit: (record: OwnerRecord) => commit(record, 7, "n2", "m"),
  abort: (record: OwnerRecord) => abort(record, 7, "n1", "m"),
  confirm: (record: OwnerRecord) => confirmRunning(record, 8, "n2"),
};

describe("verdictOf", () => {
  it("never says aborted to one and committed to the other, in any order of transactions", () => {
    const steps = fc.array(fc.constantFrom(...(Object.keys(rules) as (keyof typeof rules)[])), { maxLength: 12 });
    fc.assert(
      fc.property(steps, (order) => {
        let record = start;
        const seen = new Set<string>();
        for (const name of order) {
          record = rules[name](record) ?? record;
          seen.add(verdictOf(record, question).kind);
        }
        expect(seen.has("aborted") && seen.has("committed")).toBe(false);
        expect(seen.has("superseded")).toBe(false);
      }),
    );
  });

  it("distinguishes entered from not yet entered", () => {
    expect(verdictOf(null, question)).toEqual({ kind: "open", entered: false });
    expect(verdictOf(start, question)).toEqual({ kind: "open", entered: false });
    expect(verdictOf({ ...start, state: "switching", migrationId: "m" }, question)).toEqual({
      kind: "open",
      entered: true,
    });
  });

  it("concludes nothing from an owner that came back by later migrations", () => {
    expect(verdictOf({ ...start, epoch: 9 }, question)).toEqual({ kind: "superseded", epoch: 9 });
  });

  it("knows a container that the destination has given back, unless the copy ran", () => {
    const committed: OwnerRecord = { ...start, node: "n2", epoch: 8, state: "committed", migrationId: "m" };
    const returned = giveBack(committed, 8, "n2", "n1", "m");
    expect(verdictOf(returned, question)).toEqual({ kind: "aborted", epoch: 9 });
    expect(giveBack({ ...committed, state: "running" }, 8, "n2", "n1", "m")).toBeNull();
    expect(giveBack(committed, 8, "n3", "n1", "m")).toBeNull();
    expect(giveBack(committed, 8, "n2", "n1", "other")).toBeNull();
  });

  it("takes another migration's commit in the same epoch for no verdict on this one", () => {
    const theirs: OwnerRecord = { ...start, node: "n3", epoch: 8, state: "committed", migrationId: "other" };
    expect(verdictOf(theirs, question)).toEqual({ kind: "superseded", epoch: 8 });
  });
});
