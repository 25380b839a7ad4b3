/** Power cuts, cut links, a silent etcd. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { NodeDocument } from "../../cli/src/documents/cluster-documents.ts";
import { eventually } from "../harness/eventually.ts";
import { markedTasks, runningCopies } from "../harness/one-copy.ts";
import { type CaseMode, type FaultOf, MODES } from "./case-terms.ts";
import { isChosen, stageOfThisRun } from "./choice.ts";
import { KILL_COPY } from "./deeds.ts";
import { leadElsewhere, play, type Scene, setFaults } from "./scenario.ts";
import { NAME, SETTLE_MS, type Stage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await stageOfThisRun();
});
afterAll(async () => {
  await stage?.close();
});

const cutPower = ({ actors }: Scene, whose: "source" | "destination") => stage.cutPower(actors[whose]);
const restorePower = ({ actors }: Scene, whose: "source" | "destination") => stage.restorePower(actors[whose]);

/** All of the memory is on the destination before the commit. Of the others see post-copy.e2e.test.ts. */
const DELIVERING: readonly CaseMode[] = ["stop-copy", "pre-copy"];

// What takes half a minute is played where the mode makes a difference to the side that stays: a source that serves, or
// that has sent rounds, a fault server. Between them the cut of power and that of the link have each mode.
describe("power cut", () => {
  test.runIf(isChosen(false)).each(["stop-copy", "post-copy"] as const)(
    "of the destination before the commit, %s",
    async (mode) => {
      await play(stage, {
        mode,
        hold: { role: "destination", point: "destination.after-journal-prepared" },
        during: async (scene) => await cutPower(scene, "destination"),
        afterwards: async (scene) => {
          // The source serves again before the destination is back.
          await stage.client.moreReplies(1, SETTLE_MS);
          await restorePower(scene, "destination");
        },
        outcomes: ["rolled_back"],
      });
    },
  );

  test.runIf(isChosen(false)).each(["stop-copy", "hybrid"] as const)(
    "of the destination in the middle of the transfer, %s",
    async (mode) => {
      await play(stage, {
        mode,
        hold: { role: "source", point: "source.after-freeze" },
        during: async (scene) => await cutPower(scene, "destination"),
        afterwards: async (scene) => {
          await stage.client.moreReplies(1, SETTLE_MS);
          await restorePower(scene, "destination");
        },
        outcomes: ["rolled_back"],
      });
    },
  );

  for (const mode of MODES)
    test.runIf(isChosen(mode === "hybrid"))(`of the destination between commit and thaw, ${mode}`, async () => {
      await play(stage, {
        mode,
        hold: { role: "destination", point: "destination.before-journal-activating" },
        during: async (scene) => await cutPower(scene, "destination"),
        afterwards: async (scene) => await restorePower(scene, "destination"),
        outcomes: ["rolled_back"],
      });
    });

  // In one mode: of what its memory was nothing is left anywhere but on the source.
  test.runIf(isChosen(false))("of the destination that has given the container back, which moves on", async () => {
    const actors = await stage.set();
    const stop: FaultOf = {
      role: "destination",
      fault: { point: "destination.after-give-back", action: "hang" },
    };
    await setFaults(stage, actors, [{ role: "leader", fault: { point: "saga.before-commit", action: "hang" } }, stop]);
    const id = await stage.begin(actors.destination);
    await stage.faults.firing("saga.before-commit", SETTLE_MS);
    await KILL_COPY.perform({ stage, actors, id });
    await setFaults(stage, actors, [stop]);
    await stage.faults.firing(stop.fault.point, SETTLE_MS);
    await stage.cutPower(actors.destination);
    const running = await stage.nodesThatRun();
    await stage.faults.clear(running);
    const { outcome } = await stage.state.migrationWhen(id, ({ phase }) => phase === "done", "is done", SETTLE_MS);
    expect(outcome).toBe("rolled_back");
    const next = await stage.settled(await stage.begin(actors.other), running);
    expect(next.outcome).toBe("completed");
    await stage.restorePower(actors.destination);
    await stage.settled(id);
    await stage.assertSound(actors.other, { onwards: actors.destination });
  });

  const POLICIES = [
    ["no", "stop-copy"],
    ["always", "stop-copy"],
    ["no", "post-copy"],
    ["always", "hybrid"],
  ] as const;
  for (const [policy, mode] of POLICIES) {
    const title = `of the source while it is frozen and nothing is delivered, restart policy ${policy}, ${mode}`;
    test.runIf(isChosen(false))(title, async () => {
      const { source, destination } = await stage.set();
      await stage.lab.docker(source, "update", `--restart=${policy}`, NAME);
      const record = await play(
        stage,
        {
          mode,
          hold: { role: "source", point: "source.after-freeze" },
          during: async (scene) => await cutPower(scene, "source"),
          afterwards: async (scene) => {
            await stage.state.migrationWhen(scene.id, ({ phase }) => phase === "abort", "goes back", SETTLE_MS);
            // The only copy there was has ended with its host, and no other came to life.
            expect(await runningCopies(stage.lab, stage.container.mark, await stage.nodesThatRun())).toEqual([]);
            await restorePower(scene, "source");
          },
          outcomes: [policy === "no" ? "failed" : "rolled_back"],
        },
        { isolated: true },
      );
      if (policy === "no") {
        expect(record.reason).toContain(`does not run on ${source}`);
        await stage.assertStopped(source);
        await stage.lab.docker(source, "start", NAME);
      }
      await stage.lab.docker(source, "update", "--restart=no", NAME);
      await stage.connect();
      await stage.assertSound(source, { onwards: destination });
    });
  }

  test.runIf(isChosen(false)).each(DELIVERING)(
    "of the source before the commit, with everything delivered, %s",
    async (mode) => {
      await play(stage, {
        mode,
        // The decision must not fall with the source: another leader could not tell whether it has gone on.
        prepare: leadElsewhere,
        hold: { role: "leader", point: "saga.before-commit" },
        during: async (scene) => await cutPower(scene, "source"),
        afterwards: async (scene) => {
          await stage.client.moreReplies(1, SETTLE_MS);
          await restorePower(scene, "source");
        },
        outcomes: ["completed"],
      });
    },
  );

  test.runIf(isChosen(false)).each(DELIVERING)("of the source after the commit, %s", async (mode) => {
    await play(stage, {
      mode,
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

/** Tasks that neither the freezer nor CRIU, whose dump may wait for the link, keeps from running. */
async function tasksAtLarge(node: string): Promise<string[]> {
  const tasks = (await markedTasks(stage.lab, node, stage.container.mark)).filter(({ frozen }) => !frozen);
  const states = tasks.map(({ pid }) => stage.lab.exec(node, ["grep", "^State:", `/proc/${pid}/status`]));
  return (await Promise.all(states)).filter((state) => !state.includes("tracing stop"));
}

describe("cut link", () => {
  test.runIf(isChosen(false)).each(["stop-copy", "pre-copy", "post-copy"] as const)(
    "of the destination in the middle of the transfer, %s",
    async (mode) => {
      await play(stage, {
        mode,
        hold: { role: "source", point: "source.after-freeze" },
        during: async ({ actors }) => await stage.partition(actors.destination),
        afterwards: async ({ actors }) => {
          await stage.client.moreReplies(1, SETTLE_MS);
          await stage.heal(actors.destination);
        },
        outcomes: ["rolled_back"],
      });
    },
  );

  test.runIf(isChosen(false)).each(MODES)("of the source while it is frozen, %s", async (mode) => {
    await play(stage, {
      mode,
      hold: { role: "source", point: "source.after-freeze" },
      during: async ({ actors }) => await stage.partition(actors.source),
      afterwards: async ({ id, actors }) => {
        await stage.state.migrationWhen(id, ({ phase }) => phase === "abort", "is being rolled back", SETTLE_MS);
        // Nobody can tell the source that it may run on; nobody else runs.
        const others = stage.lab.nodes.filter((node) => node !== actors.source);
        expect(await runningCopies(stage.lab, stage.container.mark, others)).toEqual([]);
        expect(await tasksAtLarge(actors.source)).toEqual([]);
        await stage.heal(actors.source);
      },
      outcomes: ["rolled_back"],
    });
  });

  test.runIf(isChosen(false)).each(MODES)("of the destination between commit and thaw, %s", async (mode) => {
    await play(stage, {
      mode,
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

  for (const mode of MODES)
    test.runIf(isChosen(mode === "pre-copy"))(`during the switch, and continued later, ${mode}`, async () => {
      await play(stage, {
        mode,
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

  test.runIf(isChosen(false)).each(MODES)(
    "between commit and durable running, and continued later, %s",
    async (mode) => {
      await play(stage, {
        mode,
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
    },
  );
});

describe("a member of etcd that its clients reach, and the other members do not", () => {
  const LIMIT_MS = 20_000;
  const ALONE = ["in tcp dport 2380", "in tcp sport 2380", "out tcp dport 2380", "out tcp sport 2380"];
  const HOOKS = { in: "input", out: "output" };
  const rules = [
    "table inet alone",
    ...Object.entries(HOOKS).map(
      ([chain, hook]) => `chain inet alone ${chain} { type filter hook ${hook} priority 0; }`,
    ),
    ...ALONE.map((rule) => `rule inet alone ${rule} drop`),
  ];

  // That leases are kept whoever is asked is for the etcd client's own tests: here it is chance who is.
  test.runIf(isChosen(false))("no node loses its registration, and containers move", async () => {
    const { source, destination, other } = await stage.set();
    const registrations = async () => {
      const { exitCode, document, stderr } = await stage.lab.dray<NodeDocument[]>(["node", "ls"]);
      expect(exitCode, stderr).toBe(0);
      return document.map((node) => [node.name, node.registered_at]);
    };
    const before = await registrations();
    const endsAt = performance.now() + LIMIT_MS;
    await stage.lab.exec(other, ["nft", rules.map((rule) => `add ${rule}`).join("; ")]);
    try {
      for (const round = { trips: 0 }; performance.now() < endsAt || round.trips % 2 === 1; round.trips++) {
        const { document } = await stage.migrate(round.trips % 2 === 0 ? destination : source);
        expect(document?.outcome, JSON.stringify(document?.error)).toBe("completed");
      }
      expect(await registrations()).toEqual(before);
    } finally {
      await stage.lab.exec(other, ["nft", "delete", "table", "inet", "alone"]);
    }
    await stage.assertSound(source, { onwards: destination });
  });
});
