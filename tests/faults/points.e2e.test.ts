/** kill -9 of source agent, destination agent and leader at every named point. */
import { afterAll, beforeAll, describe, test } from "vitest";
import type { FaultOf } from "./case-terms.ts";
import { CORE_POINTS, isChosen, stageOfThisRun } from "./choice.ts";
import type { Deed } from "./deeds.ts";
import { type Cause, isDeed, POINT_CASES, type PointCase, titleOf } from "./point-cases.ts";
import { assertEnd, type Scene, setFaults } from "./scenario.ts";
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

async function killAt({ role, point, outcomes, because, mode = "stop-copy" }: PointCase): Promise<void> {
  const actors = await stage.set();
  const death: FaultOf = { role, fault: { point, action: "kill" } };
  await setFaults(stage, actors, [...(because === undefined ? [] : faultsOf(because)), death]);
  const beginning = stage.begin(actors.destination, "--mode", mode);
  beginning.catch(() => undefined);
  const undo =
    because !== undefined && isDeed(because)
      ? await doneTo({ stage, actors, id: await beginning }, because, death)
      : undefined;
  await unlessRefused(beginning, stage.faults.firing(point, SETTLE_MS));
  await stage.faults.clear();
  await undo?.();
  await assertEnd(stage, actors, await stage.settled(await beginning), outcomes);
}

/** An order that is refused passes no point: its error says more than a wait that ends. */
function unlessRefused<T>(beginning: Promise<unknown>, event: Promise<T>): Promise<T> {
  return Promise.race([event, beginning.then(() => event)]);
}

function faultsOf(cause: Cause): readonly FaultOf[] {
  if (!isDeed(cause)) return cause;
  return [{ role: cause.at.role, fault: { point: cause.at.point, action: "hang" } }];
}

/** Does the deed when the migration has come to where it is held; returns how it is undone. */
async function doneTo(scene: Scene, deed: Deed, death: FaultOf): Promise<() => Promise<void>> {
  await scene.stage.faults.firing(deed.at.point, SETTLE_MS);
  const undo = await deed.perform(scene);
  if (deed.keepsHold !== true) await setFaults(scene.stage, scene.actors, [death]);
  return undo;
}
