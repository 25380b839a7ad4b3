/**
 * What the runtime in front of runc costs containers that nobody migrates: `docker exec` of one under `runc` and of one
 * under `drayage`, in turns on one node, while the agent runs and while it is stopped.
 *
 * usage: exec.ts [--lab NAME] [--runs 200] [--output DIR]
 *
 * Without --lab it brings a lab up and takes it down again. Writes exec.json and exec.md; prints the JSON without the
 * samples.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { removeContainer, startContainer } from "../harness/containers.ts";
import { labCommand, TestLab } from "../harness/test-lab.ts";
import { CONDITIONS, type Condition, judge, type Line, markdown, type Samples, summarise } from "./exec/report.ts";

const OWN_LAB = "bench";
const RUNTIMES = ["runc", "drayage"] as const;
const TIMER = "/run/bench-exec-timer.ts";
const NODE = "/usr/lib/drayage/node";
const DEADLINE_MS = 600_000;
const containerOf = (runtime: (typeof RUNTIMES)[number]) => `bench-exec-${runtime}`;

const { values } = parseArgs({
  options: {
    lab: { type: "string" },
    runs: { type: "string", default: "200" },
    output: { type: "string", default: join(import.meta.dirname, "results") },
  },
});

if (values.lab === undefined) {
  try {
    await labCommand(["up", "--name", OWN_LAB]);
    await benchmark(OWN_LAB);
  } finally {
    await labCommand(["down", "--name", OWN_LAB]);
  }
} else await benchmark(values.lab);

async function benchmark(name: string): Promise<void> {
  const lab = await TestLab.open(name);
  const [node = ""] = lab.nodes;
  const samples: Partial<Record<Condition, Samples>> = {};
  const lines: Line[] = [];
  try {
    await lab.images(["redis"], [node]);
    await lab.writeFile(node, TIMER, await readFile(join(import.meta.dirname, "exec/timer.ts"), "utf8"));
    for (const runtime of RUNTIMES) {
      await startContainer(lab, { node, name: containerOf(runtime), image: "redis:latest", runtime });
    }
    for (const condition of CONDITIONS) {
      await lab.exec(node, ["systemctl", condition === "the agent runs" ? "start" : "stop", "drayage-agent"]);
      const measured = await measure(lab, node);
      samples[condition] = measured;
      lines.push(summarise(condition, measured));
      process.stderr.write(`${condition}: ${measured.runc.length} runs of each\n`);
    }
  } finally {
    await lab.exec(node, ["systemctl", "start", "drayage-agent"]);
    await lab.exec(node, ["rm", "--force", TIMER]);
    for (const runtime of RUNTIMES) await removeContainer(lab, containerOf(runtime));
  }
  const goals = judge(lines);
  await mkdir(values.output, { recursive: true });
  await writeFile(join(values.output, "exec.json"), `${JSON.stringify({ lines, goals, samples }, null, 2)}\n`);
  await writeFile(join(values.output, "exec.md"), markdown(lines, goals));
  process.stdout.write(`${JSON.stringify({ lines, goals }, null, 2)}\n`);
}

async function measure(lab: TestLab, node: string): Promise<Samples> {
  const argv = [NODE, TIMER, values.runs, ...RUNTIMES.map(containerOf)];
  const byContainer = JSON.parse(await lab.exec(node, argv, { deadlineMs: DEADLINE_MS })) as Record<string, number[]>;
  const of = (runtime: (typeof RUNTIMES)[number]) => byContainer[containerOf(runtime)] ?? [];
  return { runc: of("runc"), drayage: of("drayage") };
}
