/** kill -9 of source agent, destination agent and leader at every named point. */
import { afterAll, beforeAll, describe, test } from "vitest";
import { CORE_POINTS, isChosen, stageOfThisRun } from "./choice.ts";
import { POINT_CASES, type PointCase, titleOf } from "./point-cases.ts";
import { assertEnd, setFaults } from "./scenario.ts";
import { SETTLE_MS, type Stage } from "./stage.ts";

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
      await killAt(each);
    });
  }
});

async function killAt({ role, point, outcomes, because }: PointCase): Promise<void> {
  const actors = await stage.set();
  const fault = { point, action: "kill" } as const;
  await setFaults(stage, actors, [...(because === undefined ? [] : [because]), { role, fault }]);
  const beginning = stage.begin(actors.destination);
  beginning.catch(() => undefined);
  await stage.faults.firing(point, SETTLE_MS);
  await stage.faults.clear();
  await assertEnd(stage, actors, await stage.settled(await beginning), outcomes);
}
