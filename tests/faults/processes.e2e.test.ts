/** kill -9 of what the agents run: CRIU, runc, drayage-runc; restarts of Docker, and of the agents by systemd. */
import { basename } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { goFirst } from "../../agent/src/host/go-first.ts";
import { eventually } from "../harness/eventually.ts";
import { isChosen, stageOfThisRun } from "./choice.ts";
import { appearance, killOnAppearance } from "./node-processes.ts";
import { type CaseMode, FETCHING, MODES, type Outcome, type Role } from "./case-terms.ts";
import { play, type Scenario } from "./scenario.ts";
import { SETTLE_MS, type Stage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await stageOfThisRun();
});
afterAll(async () => {
  await stage?.close();
});

interface Victim {
  readonly title: string;
  /** Point from which it is waited for: at which it is there and waits itself, or before it begins. */
  readonly from: { readonly role: Role; readonly point: string; readonly waitsThere?: boolean };
  readonly on: "source" | "destination";
  /** What must have appeared, too, before the victim is killed. */
  readonly when?: (words: readonly string[]) => boolean;
  readonly is: (words: readonly string[]) => boolean;
  readonly outcomes: readonly Outcome[];
  /** It is noticed, not waited out. */
  readonly noticed?: boolean;
  /** The mode in which it is on the short list. */
  readonly core?: CaseMode;
}

/** By name and arguments. */
const program =
  (name: string, ...has: string[]) =>
  ([first = "", ...words]: readonly string[]) =>
    basename(first) === name && has.every((word) => words.includes(word));

/** CRIU changes its title as soon as it is asked; before, what stands before it in the PATH bears its name. */
const criuAt =
  (work: "dump" | "restore") =>
  ([title = ""]: readonly string[]) =>
    title.startsWith(`criu: ${work}`);

/** Beginning before CRIU's work, so that the hang is over before it appears. */
const DUMP = { role: "source", point: "source.after-freeze" } as const;
const RESTORE = { role: "destination", point: "destination.before-restore" } as const;
/** CRIU waits for the word of the agent, which hangs here. */
const IN_RESTORE = { role: "destination", point: "destination.before-pages-complete", waitsThere: true } as const;

const VICTIMS: readonly Victim[] = [
  {
    title: "CRIU in the dump",
    from: DUMP,
    on: "source",
    is: criuAt("dump"),
    outcomes: ["rolled_back"],
  },
  {
    title: "runc in the dump",
    from: DUMP,
    on: "source",
    when: criuAt("dump"),
    is: program("runc", "checkpoint"),
    outcomes: ["rolled_back"],
  },
  {
    title: "runc that waits for the word to dump",
    from: DUMP,
    on: "source",
    is: program("runc", "checkpoint"),
    outcomes: ["rolled_back"],
  },
  {
    title: "CRIU in the restore",
    from: IN_RESTORE,
    on: "destination",
    is: criuAt("restore"),
    outcomes: ["rolled_back"],
    noticed: true,
    core: "post-copy",
  },
  {
    title: "runc in the restore",
    from: IN_RESTORE,
    on: "destination",
    when: criuAt("restore"),
    is: program("runc", "restore"),
    outcomes: ["rolled_back"],
  },
  {
    title: "runc that waits for the images to restore",
    from: RESTORE,
    on: "destination",
    is: program("runc", "restore"),
    outcomes: ["rolled_back"],
  },
];

describe("killed", () => {
  const DEATHS = VICTIMS.flatMap((victim) => MODES.map((mode) => ({ ...victim, mode })));
  for (const { title, from, on, when, is, outcomes, noticed, core, mode } of DEATHS) {
    test.runIf(isChosen(mode === core))(`${title}, ${mode}`, async () => {
      let death: Promise<void> | undefined;
      const { error } = await play(stage, {
        mode,
        hold: from,
        during: async ({ actors }) => {
          const { lab } = stage;
          // With the weight of the switch: on a busy machine it would be over before.
          death = goFirst(async () => {
            const victim = await appearance(lab, actors[on], is, SETTLE_MS);
            if (when !== undefined) await appearance(lab, actors[on], when, SETTLE_MS);
            process.kill(victim.pid, "SIGKILL");
          });
          death.catch(() => undefined);
          if (from.waitsThere) await death;
        },
        afterwards: async () => await death,
        outcomes,
      });
      if (noticed) expect(error?.reason).not.toBe("TIMEOUT");
    });
  }

  for (const mode of FETCHING) {
    test.runIf(isChosen(false))(`all of the fault server in the restore, ${mode}`, async () => {
      const { error } = await play(stage, {
        mode,
        hold: IN_RESTORE,
        during: async ({ id, actors }) =>
          void (await stage.lab.exec(actors.destination, [
            "systemctl",
            "kill",
            "--signal=KILL",
            `drayage-faults-${id}`,
          ])),
        outcomes: ["rolled_back"],
      });
      // What is left of it freezes the copy, and CRIU in it: that is not waited for.
      expect(error?.reason).not.toBe("TIMEOUT");
      expect(error?.message).toContain("fault server was killed");
    });
  }

  // In one mode: nothing of the memory has begun to be restored, and no fault server is there.
  test.runIf(isChosen(false))("drayage-runc while it holds create", async () => {
    await play(stage, held("gate.before-record-released", "create", "stop-copy"));
  });

  for (const mode of MODES) {
    test.runIf(isChosen(false))(`drayage-runc while create waits for its restore, ${mode}`, async () => {
      await play(stage, held("destination.before-restore", "create", mode));
    });

    test.runIf(isChosen(false))(`drayage-runc while start waits for the verdict, ${mode}`, async () => {
      await play(stage, held("destination.before-journal-prepared", "start", mode));
    });
  }

  const AGENTS = [
    ["source", "source.after-freeze", MODES, ["rolled_back"]],
    ["source", "source.after-journal-sent", MODES, ["rolled_back"]],
    // It serves from the moment in which it stands still, before the commit.
    ["source", "source.before-serving-pages", FETCHING, ["rolled_back", "completed"]],
    ["destination", "destination.before-restore", MODES, ["rolled_back"]],
    ["destination", "destination.after-journal-prepared", MODES, ["rolled_back"]],
    ["destination", "destination.before-fetch", FETCHING, ["completed"]],
  ] as const;
  const RESTARTED = AGENTS.flatMap(([role, point, modes, outcomes]) =>
    modes.map((mode) => ({ role, point, mode, outcomes })),
  );
  for (const { role, point, mode, outcomes } of RESTARTED) {
    test.runIf(isChosen(false))(`the ${role}'s agent, restarted by systemd at ${point}, ${mode}`, async () => {
      await play(stage, {
        mode,
        hold: { role, point },
        during: async ({ actors }) =>
          void (await stage.lab.exec(actors[role], ["systemctl", "restart", "drayage-agent"])),
        outcomes,
      });
    });
  }

  // In one mode: what follows is a death like any other.
  test.runIf(isChosen(false))("the source's agent by the watchdog, since it says nothing any more", async () => {
    await play(stage, {
      hold: { role: "source", point: "source.after-freeze" },
      during: async ({ actors }) => {
        const agent = () => stage.lab.exec(actors.source, ["systemctl", "show", "-p", "MainPID", "drayage-agent"]);
        const stopped = await agent();
        await stage.lab.exec(actors.source, ["systemctl", "kill", "--signal=SIGSTOP", "drayage-agent"]);
        await eventually(async () => ((await agent()) === stopped ? undefined : true), {
          what: "systemd ends an agent that says nothing",
          deadlineMs: SETTLE_MS,
        });
      },
      outcomes: ["rolled_back"],
    });
  });

  const RESTARTS = [
    ["Docker", "destination.before-restore", "while create waits for its restore"],
    ["Docker", "destination.before-pages-complete", "while the restore waits for pages"],
    ["Docker", "destination.before-journal-prepared", "while the copy waits for the verdict"],
    ["containerd", "destination.before-pages-complete", "while the restore waits for pages"],
    ["containerd", "destination.before-journal-prepared", "while the copy waits for the verdict"],
  ] as const;
  // Rounds make no difference to Docker, nor to what it holds; a fault server beside the restore may.
  const HELD = RESTARTS.flatMap((restart) =>
    (["stop-copy", "post-copy"] as const).map((mode) => [...restart, mode] as const),
  );
  for (const [service, point, when, mode] of HELD) {
    test.runIf(isChosen(false))(`${service} on the destination restarted ${when}, ${mode}`, async () => {
      await play(stage, {
        mode,
        hold: { role: "destination", point },
        during: async ({ actors }) =>
          void (await stage.lab.exec(actors.destination, ["systemctl", "restart", service.toLowerCase()])),
        outcomes: ["rolled_back"],
      });
    });
  }
});

function held(point: string, verb: string, mode: CaseMode): Scenario {
  return {
    mode,
    hold: { role: "destination", point },
    during: async ({ actors }) => {
      await killOnAppearance(stage.lab, actors.destination, program("drayage-runc", verb), SETTLE_MS);
    },
    outcomes: ["rolled_back"],
  };
}
