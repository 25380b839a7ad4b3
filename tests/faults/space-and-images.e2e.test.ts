/** A destination without room, and images that are not what was sent. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { IMAGE_DIRECTORIES, withImageRoom } from "../harness/image-room.ts";
import { MODES } from "./case-terms.ts";
import { isChosen, stageOfThisRun } from "./choice.ts";
import { play } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const JOURNAL = "/var/lib/drayage/journal";

let stage: Stage;
beforeAll(async () => {
  stage = await stageOfThisRun();
});
afterAll(async () => {
  await stage?.close();
});

describe.each(MODES)("no space on the destination, %s", (mode) => {
  test.runIf(isChosen(false))("for the images at all", async () => {
    const actors = await stage.set();
    await withImageRoom(stage.lab, actors.destination, "1m", async () => {
      const { exitCode, document, stderr } = await stage.migrate(actors.destination, "--mode", mode);
      expect(exitCode === 4 || document?.outcome === "rolled_back", stderr).toBe(true);
      expect(`${stderr} ${JSON.stringify(document?.error)}`).toMatch(/MiB|NO_SPACE|space/i);
    });
    await stage.assertSound(actors.source, { onwards: actors.destination });
  });

  test.runIf(isChosen(mode === "hybrid"))("in the middle of the transfer", async () => {
    const { destination } = await stage.set();
    await withImageRoom(stage.lab, destination, "2g", async () => {
      const record = await play(
        stage,
        {
          mode,
          hold: { role: "source", point: "source.after-freeze" },
          during: async () => {
            for (const directory of IMAGE_DIRECTORIES)
              await stage.lab.tryExec(destination, ["dd", "if=/dev/zero", `of=${directory}/full`, "bs=1M"]);
          },
          afterwards: async () => {
            for (const directory of IMAGE_DIRECTORIES)
              await stage.lab.exec(destination, ["rm", "-f", `${directory}/full`]);
          },
          outcomes: ["rolled_back"],
        },
        { isolated: true },
      );
      expect(record.error?.reason).toBe("NO_SPACE");
    });
    await stage.assertSound((await stage.set()).source, { onwards: destination });
  });
});

/** On a file system of its own, so that nothing else is full. */
describe("no space for the journal", () => {
  const POINTS = [
    { role: "source", point: "source.after-freeze", core: "post-copy" },
    { role: "destination", point: "destination.before-restore", core: "pre-copy" },
  ] as const;
  const CASES = POINTS.flatMap((each) => MODES.map((mode) => ({ ...each, mode })));
  for (const { role, point, core, mode } of CASES) {
    test.runIf(isChosen(mode === core))(`of the ${role}, from ${point} on, ${mode}`, async () => {
      const actors = await stage.set();
      const node = actors[role];
      await stage.lab.exec(node, ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "journal", JOURNAL]);
      try {
        const during = async () =>
          void (await stage.lab.tryExec(node, ["dd", "if=/dev/zero", `of=${JOURNAL}/full`, "bs=1k"]));
        await play(stage, { mode, hold: { role, point }, during, outcomes: ["completed"] }, { isolated: true });
        // The room that was kept is used up: nothing new begins.
        const { document, stderr } = await stage.migrate(actors.source);
        expect(document?.error?.reason, stderr).toBe("NO_SPACE");
      } finally {
        await stage.lab.exec(node, ["umount", JOURNAL]);
      }
      await stage.assertSound(actors.destination, { onwards: actors.source });
    });
  }
});

describe.each(MODES)("images on their way, %s", (mode) => {
  test.runIf(isChosen(false))("are for root alone, and gone after use", async () => {
    let seen: string[] = [];
    let open: string[] = [];
    const list = async (node: string, ...where: string[]) =>
      (await stage.lab.shell(node, `find ${IMAGE_DIRECTORIES.join(" ")} "$@" 2>/dev/null || :`, ...where))
        .split("\n")
        .filter(Boolean);
    const record = await play(stage, {
      mode,
      hold: { role: "destination", point: "destination.before-pages-complete" },
      during: async ({ actors }) => {
        seen = await list(actors.destination, "-name", "pages-*.img");
        // The link to the round before has no permissions of its own.
        open = await list(actors.destination, "-perm", "/077", "-not", "-type", "l");
      },
      outcomes: ["completed"],
    });
    expect(seen).not.toEqual([]);
    expect(open).toEqual([]);
    for (const node of [record.source, record.destination]) expect(await list(node, "-type", "f")).toEqual([]);
  });
});

describe.each(MODES)("a restore that fails, %s", (mode) => {
  test.runIf(isChosen(mode === "stop-copy"))("because an image is damaged", async () => {
    const record = await play(stage, {
      mode,
      hold: { role: "destination", point: "destination.before-restore" },
      during: async ({ actors, id }) => {
        const damage =
          'f=$(ls "$1"/core-*.img | head -n 1); printf "\\377\\377\\377\\377" | dd of="$f" bs=1 seek=8 conv=notrunc status=none';
        await stage.lab.shell(actors.destination, damage, `${IMAGE_DIRECTORIES[0]}/${id}`);
      },
      outcomes: ["rolled_back"],
    });
    expect(record.error?.reason).toBe("CRIU_RESTORE_FAILED");
    expect(record.error?.node).toBe(record.destination);
    const log = `/var/lib/drayage/criu-logs/${record.id}-restore.log`;
    expect(record.error?.remedy).toContain(log);
    expect(await stage.lab.exec(record.destination, ["cat", log])).toContain("Error");
  });

  test.runIf(isChosen(mode === "hybrid"))(
    "because the map of the pages is missing, when Docker has its container already",
    async () => {
      const record = await play(stage, {
        mode,
        hold: { role: "destination", point: "destination.before-pages-complete" },
        during: async ({ actors, id }) => {
          await stage.lab.exec(actors.destination, ["rm", `${IMAGE_DIRECTORIES[0]}/${id}/pagemap-1.img`]);
        },
        outcomes: ["rolled_back"],
      });
      expect(record.error?.reason).toBe("CRIU_RESTORE_FAILED");
      expect(record.error?.node).toBe(record.destination);
    },
  );

  test.runIf(isChosen(false))("because an image is missing", async () => {
    const record = await play(stage, {
      mode,
      hold: { role: "destination", point: "destination.before-restore" },
      during: async ({ actors, id }) => {
        await stage.lab.exec(actors.destination, ["rm", `${IMAGE_DIRECTORIES[0]}/${id}/inventory.img`]);
      },
      outcomes: ["rolled_back"],
    });
    expect(record.error?.reason).toBe("CRIU_RESTORE_FAILED");
  });
});

// In one mode: it takes a minute, and what CRIU reads by itself it reads in the same way in each.
test.runIf(isChosen(false))("a restore that fails because CRIU spins over pages that have been cut off", async () => {
  const record = await play(stage, {
    hold: { role: "destination", point: "destination.before-pages-complete" },
    during: async ({ actors, id }) => {
      await stage.lab.shell(
        actors.destination,
        'truncate --no-create --size=4096 "$1"/pages-*.img',
        `${IMAGE_DIRECTORIES[0]}/${id}`,
      );
    },
    outcomes: ["rolled_back"],
  });
  expect(record.error?.reason).toBe("TIMEOUT");
});
