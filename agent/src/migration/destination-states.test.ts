import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { DestinationState } from "../journal/entry.ts";
import { drawnTransitions, tabledTransitions } from "../journal/test-support/drawn-transitions.ts";
import { mayFollow } from "../journal/transitions.ts";
import { DESTINATION_TRANSITIONS } from "./destination-states.ts";

const STATES = Object.keys(DESTINATION_TRANSITIONS) as DestinationState[];
const state = fc.constantFrom(...STATES);

/** The states that a migration passes through if it is asked for these, one after the other. */
function walk(asked: readonly DestinationState[]): DestinationState[] {
  const passed: DestinationState[] = ["reserving"];
  for (const next of asked) {
    const now = passed.at(-1) as DestinationState;
    if (mayFollow(DESTINATION_TRANSITIONS, now, next)) passed.push(next);
  }
  return passed;
}

test("the table and the diagram agree", async () => {
  const source = await readFile(new URL("./destination-states.ts", import.meta.url), "utf8");
  expect(drawnTransitions(source)).toEqual(tabledTransitions(DESTINATION_TRANSITIONS));
});

test("no transition leaves finished or aborted", () => {
  fc.assert(
    fc.property(fc.constantFrom<DestinationState>("finished", "aborted"), state, (ended, next) => {
      expect(mayFollow(DESTINATION_TRANSITIONS, ended, next)).toBe(false);
    }),
  );
});

test("who has taken the way back never runs; who has given the copy up never thaws it", () => {
  fc.assert(
    fc.property(fc.array(state, { maxLength: 40 }), (asked) => {
      const passed = walk(asked);
      const back = passed.findIndex((name) => name === "aborting" || name === "declining");
      if (back < 0) return;
      for (const name of passed.slice(back)) expect(["declining", "aborting", "aborted"]).toContain(name);
    }),
  );
});

test("a copy is thawed only after it was prepared", () => {
  fc.assert(
    fc.property(fc.array(state, { maxLength: 40 }), (asked) => {
      const passed = walk(asked);
      if (passed.includes("running")) expect(passed.indexOf("prepared")).toBeLessThan(passed.indexOf("activating"));
      if (passed.includes("activating")) expect(passed).toContain("prepared");
    }),
  );
});

test("from every state an end can be reached", () => {
  for (const from of STATES) {
    const reached = new Set<DestinationState>([from]);
    for (const name of reached) for (const next of DESTINATION_TRANSITIONS[name]) reached.add(next);
    expect(reached.has("finished") || reached.has("aborted")).toBe(true);
  }
});
