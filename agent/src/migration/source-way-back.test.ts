import { describe, expect, test } from "vitest";
import type { SourceEntry, SourceState } from "../journal/entry.ts";
import type { Verdict } from "./ownership.ts";
import { wayBackOf } from "./source-way-back.ts";

const wayBack = (verdict: Verdict, state: SourceState) => {
  const entry: SourceEntry = {
    role: "source",
    state,
    migrationId: "0123456789ab",
    uuid: "u",
    containerName: "web",
    epoch: 7,
    peerNode: "n2",
    atMs: 0,
    error: "",
    dockerId: "d",
    frozen: null,
    frozenMs: 0,
    postCopy: null,
    ranOn: false,
  };
  return wayBackOf(verdict, entry, "n1");
};

describe("the way back of a source", () => {
  test("is open after its own transaction, and after the destination has given the container back", () => {
    expect(wayBack({ kind: "aborted", epoch: 8 }, "switching")).toEqual({ isOpen: true, epoch: 8 });
    expect(wayBack({ kind: "aborted", epoch: 9 }, "sent")).toEqual({ isOpen: true, epoch: 9 });
  });

  test.each([false, true])("is closed by a commit; the copy runs: %s", (running) => {
    expect(wayBack({ kind: "committed", epoch: 8, running }, "sent")).toEqual({ isOpen: false, epoch: 8 });
  });

  test.each<SourceState>(["syncing", "synced", "switching", "aborting"])(
    "is open if etcd knows of no switch and nothing can have been committed: %s",
    (state) => {
      expect(wayBack({ kind: "open", entered: false }, state)).toEqual({ isOpen: true, epoch: 7 });
    },
  );

  test.each<SourceState>(["sent", "finishing"])("is a person's to find if etcd has lost the switch: %s", (state) => {
    expect(() => wayBack({ kind: "open", entered: false }, state)).toThrow(
      expect.objectContaining({ reason: "OUTCOME_UNKNOWN", node: "n1", remedy: expect.stringContaining("n2") }),
    );
  });

  test("is a person's to find if the owner has moved on without it", () => {
    expect(() => wayBack({ kind: "superseded", epoch: 12 }, "sent")).toThrow(
      expect.objectContaining({ reason: "OUTCOME_UNKNOWN" }),
    );
  });
});
