/**
 * What the runtime in front of runc costs containers that nobody migrates: `docker exec` of one under `runc` and of one
 * under `drayage`, in turns on one node, while the agent runs and while it is stopped.
 *
 * usage: exec.ts [--lab NAME] [--runs 200] [--output DIR]
 *
 * Without --lab it brings a lab up and takes it down again. Writes exec.json, exec.md and exec.svg; prints the JSON without the
 * samples.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { removeContainer, startContainer } from "../harness/containers.ts";
import type { TestLab } from "../harness/test-lab.ts";
import {
  CONDITIONS,
  chart,
  type Condition,
  judge,
  type Line,
  markdown,
  type Samples,
  summarise,
} from "./exec/report.ts";
import { keepFindings, printFindings, RESULTS } from "./findings.ts";
import { inLab } from "./lab-benchmark.ts";

const RUNTIMES = ["runc", "drayage"] as const;
const TIMER = "/run/bench-exec-timer.ts";
const NODE = "/usr/lib/drayage/node";
const DEADLINE_MS = 600_000;
const containerOf = (runtime: (typeof RUNTIMES)[number]) => `bench-exec-${runtime}`;

const { values } = parseArgs({
  options: {
    lab: { type: "string" },
    runs: { type: "string", default: "200" },
    output: { type: "string", default: RESULTS },
  },
});

await inLab(values.lab, benchmark);

async function benchmark(lab: TestLab): Promise<void> {
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
  const findings = { lines, goals, markdown: markdown(lines, goals), svg: chart(lines) };
  await keepFindings(values.output, "exec", findings, samples);
  printFindings(findings);
}

async function measure(lab: TestLab, node: string): Promise<Samples> {
  const argv = [NODE, TIMER, values.runs, ...RUNTIMES.map(containerOf)];
  const byContainer = JSON.parse(await lab.exec(node, argv, { deadlineMs: DEADLINE_MS })) as Record<string, number[]>;
  const of = (runtime: (typeof RUNTIMES)[number]) => byContainer[containerOf(runtime)] ?? [];
  return { runc: of("runc"), drayage: of("drayage") };
}
