/** Nobody starts or unpauses a container that may belong to another node, also while the agent is not there to say. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { removeContainer } from "../harness/containers.ts";
import { eventually } from "../harness/eventually.ts";
import { runningCopies } from "../harness/one-copy.ts";
import { isChosen, stageOfThisRun } from "./choice.ts";
import { assertEnd, play, setFaults } from "./scenario.ts";
import { NAME, SETTLE_MS, type Stage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await stageOfThisRun();
});
afterAll(async () => {
  await stage?.close();
});

/** The node comes back without its agent; Docker is asked to start the container; then the agent comes, too. */
async function startWithoutAgent(node: string, id: string): Promise<void> {
  const { lab } = stage;
  await stage.restorePower(node);
  try {
    await eventually(
      async () =>
        (await lab.tryExec(node, ["docker", "container", "inspect", NAME])).exitCode === 0 ? true : undefined,
      { what: `Docker on ${node} is back`, deadlineMs: SETTLE_MS },
    );
    const { exitCode, stderr } = await lab.tryExec(node, ["docker", "start", NAME]);
    expect(await runningCopies(lab, stage.container.mark)).not.toContain(node);
    expect(exitCode, stderr).not.toBe(0);
    expect(stderr).toContain(`migration ${id} has not ended on this node`);
  } finally {
    await lab.exec(node, ["systemctl", "unmask", "drayage-agent"]);
    await lab.exec(node, ["systemctl", "start", "drayage-agent"]);
  }
}

/** From its next boot on, the node has no agent. */
async function withoutAgent(node: string): Promise<void> {
  await stage.lab.exec(node, ["systemctl", "mask", "drayage-agent"]);
  await stage.cutPower(node);
}

describe("docker start after a power cut, while the agent is down", () => {
  test.runIf(isChosen(false))("on a destination that had a prepared copy", async () => {
    await play(stage, {
      hold: { role: "destination", point: "destination.after-journal-prepared" },
      during: async ({ actors }) => await withoutAgent(actors.destination),
      afterwards: async ({ actors, id }) => {
        await stage.client.moreReplies(1, SETTLE_MS);
        await startWithoutAgent(actors.destination, id);
      },
      outcomes: ["rolled_back"],
    });
  });

  test.runIf(isChosen(false))("on a source that had handed its container over", async () => {
    const before = await stage.set();
    // The runtime `drayage`: what runs under plain runc has nobody who could refuse.
    await assertEnd(stage, before, await stage.settled(await stage.begin(before.destination)), ["completed"]);
    const actors = await stage.set();
    const point = "destination.before-journal-activating";
    await setFaults(stage, actors, [{ role: "destination", fault: { point, action: "hang" } }]);
    const id = await stage.begin(actors.destination);
    await stage.faults.firing(point, SETTLE_MS);
    await withoutAgent(actors.source);
    await stage.faults.clear(await stage.nodesThatRun());
    await stage.client.moreReplies(1, SETTLE_MS);
    await startWithoutAgent(actors.source, id);
    await assertEnd(stage, actors, await stage.settled(id), ["completed"]);
  });
});

/** Under plain runc, of which nobody can refuse a start: where it has been moved to, it is under the runtime `drayage`. */
async function underRunc(): Promise<void> {
  await removeContainer(stage.lab, NAME);
}

async function startAnew(node: string): Promise<void> {
  await stage.lab.docker(node, "kill", NAME);
  await stage.lab.docker(node, "start", NAME);
  await stage.standsStill(node);
}

describe("on a source that stands still for its copy", () => {
  const hold = { role: "leader", point: "saga.before-commit" } as const;

  test.runIf(isChosen(true))("docker unpause: it stands still again", async () => {
    await play(stage, {
      hold,
      during: async ({ actors: { source } }) => {
        await stage.lab.docker(source, "unpause", NAME);
        await stage.standsStill(source);
      },
      outcomes: ["completed"],
    });
  });

  test.runIf(isChosen(true))("docker unpause before everything was sent: the switch ends, and it runs", async () => {
    const { reason } = await play(stage, {
      hold: { role: "source", point: "source.after-dump" },
      during: async ({ actors: { source } }) => void (await stage.lab.docker(source, "unpause", NAME)),
      outcomes: ["rolled_back"],
    });
    expect(reason).toContain("was set going while it was dumped");
  });

  test.runIf(isChosen(false))("docker kill and docker start: it stands still, and is given up", async () => {
    await underRunc();
    await play(stage, {
      hold,
      during: ({ actors: { source } }) => startAnew(source),
      outcomes: ["completed"],
    });
  });

  test.runIf(isChosen(false))("docker kill and docker start, and the way back: it runs", async () => {
    await underRunc();
    await play(stage, {
      hold: { role: "destination", point: "destination.after-journal-prepared" },
      during: async ({ id, actors: { source } }) => {
        await startAnew(source);
        expect((await stage.lab.dray(["migration", "cancel", id])).exitCode).toBe(0);
      },
      // The connection has ended with the process that somebody has killed.
      afterwards: () => stage.connectWhenUp(),
      outcomes: ["rolled_back"],
    });
  });
});
