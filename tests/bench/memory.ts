/**
 * What moving memory costs by what is in it and how fast it changes: noise, half of it compressible, nearly all zero;
 * at rest, a tenth of it rewritten every second, all of it faster than it can be sent. Downtime, what goes over the
 * wire, processor time of the agents on both sides, and their largest resident sets. Every byte is checked after each
 * move.
 *
 * usage: memory.ts [--lab NAME] [--runs 3] [--megabytes 512] [--contents noise,half,zeros] [--changes none,tenth,full]
 *                  [--modes stop-copy,auto,post-copy] [--output DIR]
 *
 * Without --lab it brings a lab up and takes it down again. Writes memory.json, memory.md and memory.svg; prints the
 * JSON without the samples.
 */
import { parseArgs } from "node:util";
import { knownToCluster, removeContainer, startContainer } from "../harness/containers.ts";
import { importProver, Prover, PROVER_IMAGE } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import type { TestLab } from "../harness/test-lab.ts";
import { keepFindings, printFindings, RESULTS } from "./findings.ts";
import { inLab } from "./lab-benchmark.ts";
import {
  CHANGES,
  type Case,
  chart,
  CONTENTS,
  judge,
  markdown,
  MODES,
  type Sample,
  summarise,
} from "./memory/report.ts";

const NAME = "bench-memory";
const AGENT = "drayage-agent";
const PAGES_PER_MEGABYTE = 256;
/** 400 MB a second: more than the page path carries on the cores that are left. */
const FULL_PAGES_PER_SECOND = 100_000;

const { values } = parseArgs({
  options: {
    lab: { type: "string" },
    runs: { type: "string", default: "3" },
    megabytes: { type: "string", default: "512" },
    contents: { type: "string", default: CONTENTS.join() },
    changes: { type: "string", default: CHANGES.join() },
    modes: { type: "string", default: MODES.join() },
    output: { type: "string", default: RESULTS },
  },
});

const megabytes = Number(values.megabytes);
const chosen = <T extends string>(all: readonly T[], names: string) =>
  all.filter((name) => names.split(",").includes(name));

await inLab(values.lab, benchmark);

async function benchmark(lab: TestLab): Promise<void> {
  const [source = "", destination = ""] = lab.nodes;
  const samples: Sample[] = [];
  await importProver(lab, [source, destination]);
  const cases = chosen(CONTENTS, values.contents).flatMap((content) =>
    chosen(CHANGES, values.changes).flatMap((change) =>
      chosen(MODES, values.modes).map((mode): Case => ({ content, change, mode })),
    ),
  );
  try {
    for (let run = 0; run < Number(values.runs); run++) {
      for (const one of cases) {
        const sample = { run, megabytes, ...one, ...(await measure(lab, source, destination, one)) };
        samples.push(sample);
        const { content, change, mode } = one;
        process.stderr.write(
          `run ${run + 1}: ${content}, ${change}, ${mode}: downtime ${sample.downtimeMs.toFixed(0)} ms\n`,
        );
      }
    }
  } finally {
    await removeContainer(lab, NAME);
  }
  const lines = summarise(samples);
  const goals = judge(samples);
  const findings = { lines, goals, markdown: markdown(lines, goals), svg: chart(lines) };
  await keepFindings(values.output, "memory", findings, samples);
  printFindings(findings);
}

async function measure(lab: TestLab, source: string, destination: string, { content, change, mode }: Case) {
  await removeContainer(lab, NAME);
  // Else the largest resident set would be that of an earlier move.
  for (const node of [source, destination]) await lab.exec(node, ["systemctl", "restart", AGENT]);
  const address = lab.freeAddress(78);
  const dirty = { none: 0, tenth: (megabytes * PAGES_PER_MEGABYTE) / 10, full: FULL_PAGES_PER_SECOND }[change];
  const command = ["--mb", String(megabytes), "--content", content, "--dirty", String(Math.round(dirty))];
  await startContainer(lab, { node: source, name: NAME, address, image: PROVER_IMAGE, command });
  const prover = await Prover.open(address);
  await knownToCluster(lab, NAME);
  const before = await Promise.all([usedCpuMs(lab, source), usedCpuMs(lab, destination)]);
  const report = await migrate(lab, NAME, destination, "--mode", mode);
  const [sourceCpuMs = 0, destinationCpuMs = 0] = await Promise.all(
    [source, destination].map(async (node, index) => (await usedCpuMs(lab, node)) - (before[index] as number)),
  );
  const [sourcePeak, destinationPeak] = await Promise.all([
    lab.residentBytes(source, AGENT),
    lab.residentBytes(destination, AGENT),
  ]);
  await prover.check();
  prover.close();
  return {
    took: report.mode,
    downtimeMs: report.downtime_ms,
    totalMs: report.total_ms,
    wireBytes: report.wire_bytes,
    sourceCpuMs,
    destinationCpuMs,
    peakBytes: Math.max(sourcePeak.peak, destinationPeak.peak),
  };
}

/** Of the agent and what it starts, but for the units that it starts. */
async function usedCpuMs(lab: TestLab, node: string): Promise<number> {
  const used = await lab.exec(node, ["systemctl", "show", "--property=CPUUsageNSec", "--value", AGENT]);
  return Number(used) / 1e6;
}
