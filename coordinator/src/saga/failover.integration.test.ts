/** The leader dies at every named point; the standby ends the same migration. */
import { Outcome } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type CoordinatorProcess, startMigration, TestCluster, watchMigration } from "../test-support/cluster.ts";

let cluster: TestCluster;
let leader: CoordinatorProcess;
let standby: CoordinatorProcess;
let count = 0;

beforeAll(async () => {
  cluster = await TestCluster.start(["n1", "n2"]);
  leader = await cluster.spawnCoordinator(`c${++count}`);
  await cluster.untilLeader(leader.name);
  standby = await cluster.spawnCoordinator(`c${++count}`);
}, 60_000);

afterAll(async () => {
  await cluster?.stop();
});

beforeEach(() => cluster.reset());

/** Kills the leader at the point and returns the end as a client of the standby sees it. */
async function endAfterKillAt(point: string, action: "kill" | "hang" = "kill") {
  await leader.faults([`${point} ${action}`]);
  const api = await cluster.connect([standby]);
  // Through the standby: it forwards, and repeats at the next leader what the first did not answer.
  const { id } = await startMigration(api);
  const last = (await watchMigration(api, id)).at(-1);
  if (action === "kill") await leader.exited;
  else leader.child.kill("SIGKILL");
  while ((await cluster.client.getPrefix(keys.migrationLock(""))).entries.length > 0)
    await new Promise((resolve) => setTimeout(resolve, 50));
  expect(cluster.world.breaches).toEqual([]);
  leader = standby;
  standby = await cluster.spawnCoordinator(`c${++count}`);
  return last;
}

const POINTS = [
  "accept",
  "phase-reserve",
  "phase-sync",
  "phase-switch",
  "enter-switch",
  "commit",
  "phase-finish",
  "done",
].flatMap((name) => [`saga.before-${name}`, `saga.after-${name}`]);

describe("killed going forward", () => {
  test.each(POINTS)("at %s", async (point) => {
    const last = await endAfterKillAt(point);
    expect(last?.outcome).toBe(Outcome.OUTCOME_COMPLETED);
    expect(cluster.world.running()).toEqual(["n2"]);
    expect(cluster.world.get("n1")).toBe("none");
    expect(await cluster.owner()).toMatchObject({ node: "n2", epoch: 2, state: "running" });
  });
});

describe("killed on the way back", () => {
  test.each(["saga.before-phase-abort", "saga.after-phase-abort", "saga.before-done", "saga.after-done"])(
    "at %s",
    async (point) => {
      let failures = 0;
      cluster.agent("n1").onOrder = async (name) => {
        // The second leader may order the switch again; it fails again.
        if (name === "switch" && failures++ < 5) throw new DrayError("CRIU_DUMP_FAILED", "dump failed");
      };
      const last = await endAfterKillAt(point);
      expect(last?.outcome).toBe(Outcome.OUTCOME_ROLLED_BACK);
      expect(cluster.world.running()).toEqual(["n1"]);
      expect(cluster.world.get("n2")).toBe("none");
      expect(await cluster.owner()).toMatchObject({ node: "n1", epoch: 2, state: "running" });
    },
  );
});

test("a leader that stops in good order hands over at once", async () => {
  let release: () => void = () => undefined;
  cluster.agent("n1").onOrder = (name) =>
    name === "sync" ? new Promise((resolve) => (release = resolve)) : Promise.resolve();
  const api = await cluster.connect([standby]);
  const { id } = await startMigration(api);
  while (!cluster.agent("n1").orders.includes("sync")) await new Promise((resolve) => setTimeout(resolve, 20));
  leader.child.kill("SIGTERM");
  const [code] = (await leader.exited) as [number | null];
  expect(code).toBe(0);
  cluster.agent("n1").onOrder = async () => undefined;
  release();
  expect((await watchMigration(api, id)).at(-1)?.outcome).toBe(Outcome.OUTCOME_COMPLETED);
  expect(cluster.world.breaches).toEqual([]);
});
