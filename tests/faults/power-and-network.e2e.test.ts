/** Power cuts, cut links, a silent etcd. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../harness/eventually.ts";
import { runningCopies } from "../harness/one-copy.ts";
import { isChosen, stageOfThisRun } from "./choice.ts";
import { play, type Scene } from "./scenario.ts";
import { SETTLE_MS, type Stage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await stageOfThisRun();
});
afterAll(async () => {
  await stage?.close();
});

const cutPower = ({ actors }: Scene, whose: "source" | "destination") => stage.cutPower(actors[whose]);
const restorePower = ({ actors }: Scene, whose: "source" | "destination") => stage.restorePower(actors[whose]);

describe("power cut", () => {
  test.runIf(isChosen(false))("of the destination before the commit", async () => {
    await play(stage, {
      hold: { role: "destination", point: "destination.after-journal-prepared" },
      during: async (scene) => await cutPower(scene, "destination"),
      afterwards: async (scene) => {
        // The source serves again before the destination is back.
        await stage.client.moreReplies(1, SETTLE_MS);
        await restorePower(scene, "destination");
      },
      outcomes: ["rolled_back"],
    });
  });

  test.runIf(isChosen(false))("of the destination in the middle of the transfer", async () => {
    await play(stage, {
      hold: { role: "source", point: "source.after-freeze" },
      during: async (scene) => await cutPower(scene, "destination"),
      afterwards: async (scene) => {
        await stage.client.moreReplies(1, SETTLE_MS);
        await restorePower(scene, "destination");
      },
      outcomes: ["rolled_back"],
    });
  });

  test.runIf(isChosen(true))("of the destination between commit and thaw", async () => {
    await play(stage, {
      hold: { role: "destination", point: "destination.before-journal-activating" },
      during: async (scene) => await cutPower(scene, "destination"),
      afterwards: async (scene) => await restorePower(scene, "destination"),
      outcomes: ["rolled_back"],
    });
  });

  test.runIf(isChosen(false))("of the source before the commit, with everything delivered", async () => {
    await play(stage, {
      hold: { role: "leader", point: "saga.before-commit" },
      during: async (scene) => await cutPower(scene, "source"),
      afterwards: async (scene) => {
        await stage.client.moreReplies(1, SETTLE_MS);
        await restorePower(scene, "source");
      },
      outcomes: ["completed"],
    });
  });

  test.runIf(isChosen(false))("of the source after the commit", async () => {
    await play(stage, {
      hold: { role: "destination", point: "destination.before-journal-activating" },
      during: async (scene) => await cutPower(scene, "source"),
      afterwards: async (scene) => {
        await stage.client.moreReplies(1, SETTLE_MS);
        await restorePower(scene, "source");
      },
      outcomes: ["completed"],
    });
  });
});

describe("cut link", () => {
  test.runIf(isChosen(false))("of the destination in the middle of the transfer", async () => {
    await play(stage, {
      hold: { role: "source", point: "source.after-freeze" },
      during: async ({ actors }) => await stage.partition(actors.destination),
      afterwards: async ({ actors }) => {
        await stage.client.moreReplies(1, SETTLE_MS);
        await stage.heal(actors.destination);
      },
      outcomes: ["rolled_back"],
    });
  });

  test.runIf(isChosen(false))("of the source while it is frozen", async () => {
    await play(stage, {
      hold: { role: "source", point: "source.after-freeze" },
      during: async ({ actors }) => await stage.partition(actors.source),
      afterwards: async ({ id, actors }) => {
        await stage.state.migrationWhen(id, ({ phase }) => phase === "abort", "is being rolled back", SETTLE_MS);
        // Nobody can tell the source that it may run on; nobody else runs.
        expect(await runningCopies(stage.lab, stage.container.mark)).toEqual([]);
        await stage.heal(actors.source);
      },
      outcomes: ["rolled_back"],
    });
  });

  test.runIf(isChosen(false))("of the destination between commit and thaw", async () => {
    await play(stage, {
      hold: { role: "destination", point: "destination.before-journal-activating" },
      during: async ({ actors }) => await stage.partition(actors.destination),
      afterwards: async ({ actors }) => await stage.heal(actors.destination),
      outcomes: ["completed"],
    });
  });
});

describe("etcd stopped", () => {
  const signalEtcd = async (name: string) => {
    await Promise.all(
      stage.lab.nodes.map((node) => stage.lab.exec(node, ["systemctl", "kill", `--signal=${name}`, "etcd"])),
    );
  };

  test.runIf(isChosen(true))("during the switch, and continued later", async () => {
    await play(stage, {
      hold: { role: "source", point: "source.after-freeze" },
      during: async () => await signalEtcd("SIGSTOP"),
      afterwards: async ({ id, actors }) => {
        try {
          await eventually(
            // Until then CRIU is at work on one side or the other, and needs tasks that are not frozen.
            async () =>
              (await stage.state.journaled(actors.source, id)) === "sent" &&
              (await stage.state.journaled(actors.destination, id)) === "prepared"
                ? true
                : undefined,
            {
              what: "both sides get on without etcd, up to the decision",
              deadlineMs: SETTLE_MS,
            },
          );
          expect(await runningCopies(stage.lab, stage.container.mark)).toEqual([]);
        } finally {
          await signalEtcd("SIGCONT");
        }
      },
      outcomes: ["completed", "rolled_back"],
    });
  });

  test.runIf(isChosen(false))("between commit and durable running, and continued later", async () => {
    await play(stage, {
      hold: { role: "destination", point: "destination.after-thaw" },
      during: async () => await signalEtcd("SIGSTOP"),
      afterwards: async ({ actors }) => {
        try {
          await stage.client.moreReplies(1, SETTLE_MS);
          expect(await runningCopies(stage.lab, stage.container.mark)).toEqual([actors.destination]);
        } finally {
          await signalEtcd("SIGCONT");
        }
      },
      outcomes: ["completed"],
    });
  });
});
