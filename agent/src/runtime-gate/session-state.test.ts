import fc from "fast-check";
import { expect, test } from "vitest";
import { advance, hasVerdict, type SessionEvent, type SessionState } from "./session-state.ts";

const restore = {
  bundle: "/b",
  runcRoot: "/r",
  imageDirectory: "/i",
  workDirectory: "/w",
  claim: "1-2",
  cgroup: "/sys/fs/cgroup/docker",
  argv: ["runc"],
};
const copy = { initPid: 7, cgroup: "/c", tasks: 1, preparedAtMs: 5, startClaim: "3-4" };

const event: fc.Arbitrary<SessionEvent> = fc.oneof(
  fc.constant<SessionEvent>({ type: "release", restore }),
  fc.constant<SessionEvent>({ type: "verified", copy }),
  fc.constant<SessionEvent>({ type: "commit" }),
  fc.record({ type: fc.constant("thawed" as const), atMs: fc.nat() }),
  fc.record({ type: fc.constant("abort" as const), reason: fc.string() }),
);

function walk(events: readonly SessionEvent[]): SessionState[] {
  const states: SessionState[] = [{ name: "armed" }];
  for (const each of events) {
    const next = advance(states.at(-1) as SessionState, each);
    if (next !== null) states.push(next);
  }
  return states;
}

test("runs only what was prepared and is decided; a verdict is never taken back", () => {
  fc.assert(
    fc.property(fc.array(event), (events) => {
      const names = walk(events).map((state) => state.name);
      if (names.includes("committed")) {
        const order = ["armed", "released", "prepared", "committing", "committed"];
        expect(names.filter((name, at) => name !== names[at - 1])).toEqual(order);
      }
      const verdict = names.findIndex((name) => name === "committing" || name === "failed");
      if (verdict >= 0) {
        const after = new Set(names.slice(verdict));
        expect(after.has("failed") && (after.has("committing") || after.has("committed"))).toBe(false);
      }
    }),
  );
});

test("an event repeated has no further effect", () => {
  fc.assert(
    fc.property(fc.array(event), event, (events, last) => {
      const before = walk(events).at(-1) as SessionState;
      const once = advance(before, last);
      if (once !== null) expect(advance(once, last)).toBe(once);
    }),
  );
});

test("abort is refused from the verdict on, and allowed in every state before", () => {
  fc.assert(
    fc.property(fc.array(event), (events) => {
      const state = walk(events).at(-1) as SessionState;
      const aborted = advance(state, { type: "abort", reason: "x" });
      if (state.name === "committing" || state.name === "committed") expect(aborted).toBeNull();
      else expect(aborted?.name).toBe("failed");
      expect(hasVerdict(state)).toBe(["committing", "committed", "failed"].includes(state.name));
    }),
  );
});
