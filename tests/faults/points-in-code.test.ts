/** No point without a case, no case without a point. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DestinationEntry, SourceEntry } from "../../agent/src/journal/entry.ts";
import type { SessionStateName } from "../../agent/src/runtime-gate/session-state.ts";
import { FETCHING } from "./case-terms.ts";
import { POINT_CASES, titleOf } from "./point-cases.ts";
import { pointsOf, recordWrites, sources } from "./points-in-code.ts";

/** A record in memory of the compiler: it fails when a state is missing. */
const GATE_STATES: Readonly<Record<SessionStateName, true>> = {
  armed: true,
  released: true,
  prepared: true,
  committing: true,
  committed: true,
  failed: true,
};

const sourceStates = SourceEntry.shape.state.options;
const destinationStates = DestinationEntry.shape.state.options;
const gateStates = Object.keys(GATE_STATES).filter((state) => state !== "armed");
const files = sources();
const writes = recordWrites(files);
const points = pointsOf(files, {
  // biome-ignore-start lint/suspicious/noTemplateCurlyInString: templates as the sources have them.
  "source.before-journal-${state}": sourceStates,
  "source.after-journal-${state}": sourceStates,
  "destination.before-journal-${state}": destinationStates,
  "destination.after-journal-${state}": destinationStates,
  "gate.before-record-${next.name}": gateStates,
  "gate.after-record-${next.name}": gateStates,
  // A migration has at least these; the cases hold each.
  "source.before-round-${rounds.length + 1}": ["1", "2"],
  "saga.before-${point}": writes,
  "saga.after-${point}": writes,
  // biome-ignore-end lint/suspicious/noTemplateCurlyInString: as above
});

test("at every named point in the code a program is killed by some case", () => {
  const covered = new Set(POINT_CASES.map(({ point }) => point));
  expect([...points].filter((point) => !covered.has(point))).toEqual([]);
});

/** Where it is all the same that memory is fetched: nothing of it is anywhere yet, it is not any more, or whoever leads only waits. */
const SAME_WHERE_IT_FETCHES = [
  /^source\..*-journal-(syncing|synced|switching|aborted)$/,
  /^source\.before-(freeze|round-\d)$/,
  /^destination\..*-journal-(reserving|created|reserved)$/,
  /^gate\..*-record-(armed|failed)$/,
  /^saga\..*-(accept|enter-switch|phase-(reserve|sync|switch|finish|abort)|cancel|outcome-completed|done)$/,
  /^saga\.before-outcome-unknown$/,
  /^election\.won$/,
];

test("at all others a program is killed in a mode in which the copy fetches memory", () => {
  const fetching = POINT_CASES.filter(({ mode }) => mode !== undefined && FETCHING.includes(mode));
  const played = new Set(fetching.map(({ point }) => point));
  const others = [...points].filter((point) => !SAME_WHERE_IT_FETCHES.some((same) => same.test(point)));
  expect(others.filter((point) => !played.has(point))).toEqual([]);
});

test("every case names a point that is in the code, and has a title of its own", () => {
  expect(POINT_CASES.map(({ point }) => point).filter((point) => !points.has(point))).toEqual([]);
  const titles = POINT_CASES.map(titleOf);
  expect(titles.filter((title, index) => titles.indexOf(title) !== index)).toEqual([]);
});

test("whatever else is held or fails here is held or fails at a point that is in the code", () => {
  const named = readdirSync(import.meta.dirname)
    .filter((name) => name.endsWith(".ts"))
    .flatMap((name) => [
      ...readFileSync(join(import.meta.dirname, name), "utf8").matchAll(
        /"((?:source|destination|gate|saga|election)\.[a-z0-9-]+[a-z0-9])"/g,
      ),
    ])
    .map(([, point = ""]) => point);
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((point) => !points.has(point))).toEqual([]);
});

test("the leader's writes are found by their names", () => {
  expect(writes).toEqual(expect.arrayContaining(["phase-reserve", "phase-abort", "cancel", "outcome-unknown", "done"]));
});
