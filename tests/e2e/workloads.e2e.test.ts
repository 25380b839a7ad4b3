/** Programs that use memory in every way, moved in every mode. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runsAll } from "../faults/choice.ts";
import { firstConnection } from "../harness/containers.ts";
import { eventually } from "../harness/eventually.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "./stage.ts";

const stage = new Stage("workloads", ["debian-tools"]);
const PORT = 7200;
const PROGRAM = readFileSync(join(import.meta.dirname, "../fixtures/memory-workloads/memory-workloads.py"), "utf8");
/** Those that copy it while it runs. */
const MODES = ["pre-copy", "hybrid", "post-copy"] as const;
/** What the sparse one has in use. */
const MEGABYTES = runsAll ? 256 : 64;
const SUITES = ["forky", "trixie"];

/** What each counts while it checks all of its memory once, or as good as all. */
const ROUND = { sparse: 4096, shared: 100, forks: 50, mappings: 20, ending: 40, huge: 500 } as const;
type Kind = keyof typeof ROUND;

/** All of them with everything (DRAYAGE_FAULTS=all); else one, another for the next kind, and another on the next suite. */
function modesOf(kind: Kind): readonly string[] {
  if (runsAll) return [...MODES, "stop-copy"];
  const turn = Object.keys(ROUND).indexOf(kind) + SUITES.indexOf(stage.lab.suite);
  return [MODES[turn % MODES.length] as string];
}

test.each<[Kind, string]>([
  ["sparse", "8 GiB reserved with pages here and there, checked and rewritten by 100 threads"],
  ["shared", "50 processes that share memory"],
  ["forks", "a storm of forks"],
  ["mappings", "mappings that are made, moved and unmapped all the time, beside memory that cannot be read"],
  ["ending", "processes that end between two rounds"],
  ["huge", "transparent huge pages, some of them given back"],
])("%s: %s", async (kind) => {
  const { lab } = stage;
  const address = stage.address();
  const container = await stage.start({
    node: stage.source,
    name: `workload-${kind}`,
    address,
    image: "debian-tools:latest",
    command: ["python3", "-c", PROGRAM, kind, String(MEGABYTES)],
  });
  const client = await firstConnection(lab, stage.source, container, PORT);
  const count = async (): Promise<number> => {
    const answer = await client.ask("count\n");
    expect(answer).toMatch(/^ok \d+$/);
    return Number(answer.slice(3));
  };
  /** All that it checks, it has checked again when it has come this far. */
  const works = async () => {
    const before = await count();
    const moreThan = before + ROUND[kind];
    await eventually(async () => ((await count()) > moreThan ? true : undefined), {
      what: `${kind} goes on`,
      deadlineMs: 60_000,
    });
  };
  await works();
  let to = stage.destination;
  for (const mode of modesOf(kind)) {
    await migrate(lab, container.name, to, "--mode", mode);
    await works();
    await assertOneCopy(lab, container, to);
    to = to === stage.destination ? stage.source : stage.destination;
  }
  client.close();
  await stage.nothingElseLeft();
});
