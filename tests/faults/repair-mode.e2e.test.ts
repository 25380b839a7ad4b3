/**
 * kill -9 of CRIU at the worst moment of a dump: the container's connections are verifiably in repair mode, its tasks
 * held by CRIU's ptrace alone. The source runs on, and its client's connection with it.
 */
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConnectionModes } from "../harness/connection-modes.ts";
import { markedTasks } from "../harness/one-copy.ts";
import { isChosen, stageOfThisRun } from "./choice.ts";
import { assertEnd, play } from "./scenario.ts";
import { SETTLE_MS, type Stage } from "./stage.ts";

let stage: Stage;
let modes: ConnectionModes;
beforeAll(async () => {
  [stage, modes] = await Promise.all([stageOfThisRun(), ConnectionModes.build()]);
});
afterAll(async () => {
  await stage?.close();
  await modes?.close();
});

describe("killed while the connections are in repair mode", () => {
  test.runIf(isChosen(true))("CRIU in the dump", async () => {
    await killInRepair(async () => undefined);
  });

  test.runIf(isChosen(false))("CRIU in the dump, and the agent with it", async () => {
    await killInRepair(async (source) => {
      await stage.lab.exec(source, ["systemctl", "kill", "--signal=SIGKILL", "drayage-agent.service"]);
    });
  });
});

/** `before` comes while CRIU is stopped, just before its death. */
async function killInRepair(before: (source: string) => Promise<void>): Promise<void> {
  let redis = 0;
  let actors: { source: string; destination: string; other: string } | undefined;
  let stopped: Promise<number> | undefined;
  const record = await play(
    stage,
    {
      hold: { role: "source", point: "source.after-freeze" },
      during: async (scene) => {
        actors = scene.actors;
        redis = await pidOnHost(scene.actors.source);
        expect(await modes.of(redis)).toContainEqual({ inRepair: false, reusesAddress: true });
        ({ stopped } = await modes.stopInRepair(redis, SETTLE_MS));
      },
      afterwards: async (scene) => {
        const criu = await stopped;
        if (criu === undefined) throw new Error("CRIU was not waited for");
        await before(scene.actors.source);
        process.kill(criu, "SIGKILL");
      },
      outcomes: ["rolled_back"],
    },
    { isolated: true },
  );
  for (const mode of await modes.of(redis)) expect(mode).toEqual({ inRepair: false, reusesAddress: true });
  if (actors !== undefined) await assertEnd(stage, actors, record, ["rolled_back"]);
}

/** The container's one process, as this host knows it: by the inode of its pid namespace and its name. */
async function pidOnHost(node: string): Promise<number> {
  const [task] = await markedTasks(stage.lab, node, stage.container.mark);
  if (task === undefined) throw new Error(`${node} has no process of the container`);
  const space = await stage.lab.exec(node, ["readlink", `/proc/${task.pid}/ns/pid`]);
  const here = readdirSync("/proc").find((name) => /^\d+$/.test(name) && isInitOf(name, space));
  if (here === undefined) throw new Error("this host does not know the container's process");
  return Number(here);
}

function isInitOf(pid: string, space: string): boolean {
  try {
    if (readlinkSync(`/proc/${pid}/ns/pid`) !== space) return false;
    return /^NSpid:.*\t1$/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    // Ended meanwhile.
    return false;
  }
}
