/**
 * Pre-copy over a slow link: a container with memory that does not compress, a part of which is rewritten all the time,
 * moved over a link of 1 Gbit/s by stop-copy and by pre-copy in turns. Every byte is checked after each move.
 *
 * usage: link.ts [--lab NAME] [--runs 5] [--megabytes 1024] [--rate 1gbit] [--dirty-megabytes 10] [--output DIR]
 *
 * Without --lab it brings a lab up and takes it down again. Writes link.json, link.md and link.svg; prints the JSON without the
 * samples.
 */
import { parseArgs } from "node:util";
import { knownToCluster, removeContainer, startContainer } from "../harness/containers.ts";
import { importProver, Prover, PROVER_IMAGE } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import type { TestLab } from "../harness/test-lab.ts";
import { keepFindings, printFindings, RESULTS } from "./findings.ts";
import { inLab } from "./lab-benchmark.ts";
import { chart, judge, markdown, type Sample, summarise } from "./link/report.ts";

const NAME = "bench-link";
const PAGES_PER_MEGABYTE = 256;

const { values } = parseArgs({
  options: {
    lab: { type: "string" },
    runs: { type: "string", default: "5" },
    megabytes: { type: "string", default: "1024" },
    rate: { type: "string", default: "1gbit" },
    "dirty-megabytes": { type: "string", default: "10" },
    output: { type: "string", default: RESULTS },
  },
});

await inLab(values.lab, benchmark);

async function benchmark(lab: TestLab): Promise<void> {
  const [source = "", destination = ""] = lab.nodes;
  const samples: Sample[] = [];
  await importProver(lab, [source, destination]);
  await lab.link(source, values.rate);
  try {
    for (let run = 0; run < Number(values.runs); run++) {
      for (const mode of run % 2 === 0 ? (["stop-copy", "pre-copy"] as const) : (["pre-copy", "stop-copy"] as const)) {
        const sample = { run, mode, ...(await measure(lab, source, destination, mode)) };
        samples.push(sample);
        process.stderr.write(`run ${run + 1}: ${mode}: downtime ${sample.downtimeMs.toFixed(0)} ms\n`);
      }
    }
  } finally {
    await lab.link(source, "none");
    await removeContainer(lab, NAME);
  }
  const lines = summarise(samples);
  const goals = judge(samples);
  const findings = { lines, goals, markdown: markdown(lines, goals), svg: chart(lines) };
  await keepFindings(values.output, "link", findings, samples);
  printFindings(findings);
}

async function measure(lab: TestLab, source: string, destination: string, mode: Sample["mode"]) {
  await removeContainer(lab, NAME);
  const address = lab.freeAddress(74);
  const dirty = String(Number(values["dirty-megabytes"]) * PAGES_PER_MEGABYTE);
  const command = ["--mb", values.megabytes, "--seed", "5", "--dirty", dirty];
  await startContainer(lab, { node: source, name: NAME, address, image: PROVER_IMAGE, command });
  const prover = await Prover.open(address);
  await knownToCluster(lab, NAME);
  const report = await migrate(lab, NAME, destination, "--mode", mode);
  await prover.check();
  prover.close();
  return {
    downtimeMs: report.downtime_ms,
    totalMs: report.total_ms,
    memoryBytes: report.memory_bytes,
    switchBytes: report.rounds.at(-1)?.bytes ?? 0,
    rounds: report.rounds.length,
  };
}
