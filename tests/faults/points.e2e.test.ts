/** kill -9 of source agent, destination agent and leader at every named point. */
import { afterAll, beforeAll, describe, test } from "vitest";
import { CORE_POINTS, isChosen, stageOfThisRun } from "./choice.ts";
import type { Fault } from "./fault-points.ts";
import { POINT_CASES, type PointCase, type Role, titleOf } from "./point-cases.ts";
import { type Actors, SETTLE_MS, type Stage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await stageOfThisRun();
});
afterAll(async () => {
  await stage?.close();
});

describe("killed at a named point", () => {
  for (const each of POINT_CASES) {
    test.runIf(isChosen(CORE_POINTS.includes(titleOf(each))))(titleOf(each), async () => {
      await play(each);
    });
  }
});

async function play({ role, point, outcomes, because }: PointCase): Promise<void> {
  const actors = await stage.set();
  const byNode = new Map<string, Fault[]>();
  const add = (of: Role, fault: Fault) => {
    for (const node of nodesOf(of, actors)) byNode.set(node, [...(byNode.get(node) ?? []), fault]);
  };
  if (because !== undefined) add(because.role, because.fault);
  add(role, { point, action: "kill" });
  await Promise.all([...byNode].map(([node, faults]) => stage.faults.set(node, faults)));

  const beginning = stage.begin(actors.destination);
  beginning.catch(() => undefined);
  await stage.faults.firing(point, SETTLE_MS);
  await stage.faults.clear();
  const record = await stage.settled(await beginning);
  if (record.outcome === null || !(outcomes as readonly string[]).includes(record.outcome)) {
    throw new Error(`the migration ended ${record.outcome} instead of ${outcomes.join(" or ")}: ${record.reason}`);
  }
  const isThere = record.outcome === "completed";
  await stage.assertSound(isThere ? actors.destination : actors.source, {
    onwards: isThere ? actors.source : actors.destination,
  });
}

/** Nobody knows which coordinator will lead when the point is passed. */
function nodesOf(role: Role, actors: Actors): readonly string[] {
  return role === "leader" ? stage.lab.nodes : [actors[role]];
}
