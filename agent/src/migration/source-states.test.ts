import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { SourceState } from "../journal/entry.ts";
import { drawnTransitions, tabledTransitions } from "../journal/test-support/drawn-transitions.ts";
import { mayFollow } from "../journal/transitions.ts";
import { SOURCE_TRANSITIONS } from "./source-states.ts";

const STATES = Object.keys(SOURCE_TRANSITIONS) as SourceState[];

/** The states that a migration passes through if it is asked for these, one after the other. */
function walk(asked: readonly SourceState[]): SourceState[] {
  const passed: SourceState[] = ["syncing"];
  for (const next of asked) {
    const now = passed.at(-1) as SourceState;
    if (mayFollow(SOURCE_TRANSITIONS, now, next)) passed.push(next);
  }
  return passed;
}

const walks = fc.array(fc.constantFrom(...STATES), { maxLength: 40 }).map(walk);

test("the table and the diagram agree", async () => {
  const source = await readFile(new URL("./source-states.ts", import.meta.url), "utf8");
  expect(drawnTransitions(source)).toEqual(tabledTransitions(SOURCE_TRANSITIONS));
});

test("what is killed was sent before", () => {
  fc.assert(
    fc.property(walks, (passed) => {
      const killed = passed.indexOf("finishing");
      if (killed >= 0) expect(passed.slice(0, killed)).toContain("sent");
    }),
  );
});

test("who has begun to kill never revives, and who has begun to revive never kills", () => {
  fc.assert(
    fc.property(walks, (passed) => {
      expect(passed.includes("finishing") && passed.includes("aborting")).toBe(false);
    }),
  );
});

test("from every state that has not ended there is one way that is never closed", () => {
  for (const from of STATES) {
    const isEnded = from === "finished" || from === "aborted";
    expect(SOURCE_TRANSITIONS[from].length > 0).toBe(!isEnded);
    expect(mayFollow(SOURCE_TRANSITIONS, from, from)).toBe(!isEnded);
  }
});
