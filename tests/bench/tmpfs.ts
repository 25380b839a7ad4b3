/**
 * File systems in memory: a container whose tmpfs has content that does not compress, moved by stop-copy, in turns with
 * one whose tmpfs is empty and one whose tmpfs is left to CRIU, since something is mounted in it. The content is
 * compared after each move.
 *
 * usage: tmpfs.ts [--lab NAME] [--runs 5] [--megabytes 500] [--output DIR]
 *
 * Without --lab it brings a lab up and takes it down again. Writes tmpfs.json, tmpfs.md and tmpfs.svg; prints the JSON
 * without the samples.
 */
import { parseArgs } from "node:util";
import { knownToCluster, removeContainer, startContainer } from "../harness/containers.ts";
import { eventually } from "../harness/eventually.ts";
import { migrate } from "../harness/migrate.ts";
import type { TestLab } from "../harness/test-lab.ts";
import { keepFindings, printFindings, RESULTS } from "./findings.ts";
import { inLab } from "./lab-benchmark.ts";
import { chart, judge, markdown, type Sample, summarise, type Way, WAYS } from "./tmpfs/report.ts";

const NAME = "bench-tmpfs";
const FILL_DEADLINE_MS = 60_000;

const { values } = parseArgs({
  options: {
    lab: { type: "string" },
    runs: { type: "string", default: "5" },
    megabytes: { type: "string", default: "500" },
    output: { type: "string", default: RESULTS },
  },
});

await inLab(values.lab, benchmark);

async function benchmark(lab: TestLab): Promise<void> {
  const samples: Sample[] = [];
  await lab.images(["debian-tools"], lab.nodes.slice(0, 1));
  try {
    for (let run = 0; run < Number(values.runs); run++) {
      // Each way has each place in the order as often as the others.
      for (let turn = 0; turn < WAYS.length; turn++) {
        const way = WAYS[(run + turn) % WAYS.length] as Way;
        const sample = { run, way, ...(await measure(lab, way)) };
        samples.push(sample);
        process.stderr.write(`run ${run + 1}: ${way}: downtime ${sample.downtimeMs.toFixed(0)} ms\n`);
      }
    }
  } finally {
    await removeContainer(lab, NAME);
  }
  const lines = summarise(samples);
  const goals = judge(samples);
  const findings = { lines, goals, markdown: markdown(lines, goals), svg: chart(lines) };
  await keepFindings(values.output, "tmpfs", findings, samples);
  printFindings(findings);
}

async function measure(lab: TestLab, way: Way) {
  const [source = "", destination = ""] = lab.nodes;
  await removeContainer(lab, NAME);
  const bytes = way === "empty" ? 0 : Number(values.megabytes) * 1_000_000;
  const options = ["--tmpfs=/cache:size=4g", ...(way === "left to CRIU" ? ["--tmpfs=/cache/inner:size=1m"] : [])];
  const fill = `head -c ${bytes} /dev/urandom >/cache/file; touch /ready; exec sleep infinity`;
  const image = "debian-tools:latest";
  const command = ["sh", "-c", fill];
  await startContainer(lab, { node: source, name: NAME, address: lab.freeAddress(76), image, options, command });
  const inside = (node: string, ...argv: string[]) => lab.docker(node, "exec", NAME, ...argv);
  await eventually(async () => ((await inside(source, "ls", "/ready")) ? true : undefined), {
    what: "the file is written",
    deadlineMs: FILL_DEADLINE_MS,
  });
  const before = await inside(source, "sha256sum", "/cache/file");
  await knownToCluster(lab, NAME);
  const report = await migrate(lab, NAME, destination, "--mode", "stop-copy");
  if ((await inside(destination, "sha256sum", "/cache/file")) !== before) throw new Error("the content has changed");
  return { downtimeMs: report.downtime_ms, totalMs: report.total_ms };
}
