/**
 * The switch where the kernel notes what is written to (soft-dirty): a Redis under light load, moved between virtual
 * machines by stop-copy, whose switch takes all of the memory, and by pre-copy, whose switch takes what was written to
 * since the last round, in turns; and how long it stands still for a round before that, beside a round of CRIU's own. The
 * machines' processors are emulated: what takes a fixed time takes long.
 *
 * usage: soft-dirty.ts [--lab NAME] [--runs 3] [--megabytes 512] [--writes-per-second 20] [--output DIR]
 *
 * Without --lab it brings a lab of machines up and takes it down again. Writes soft-dirty.json, soft-dirty.md and
 * soft-dirty.svg; prints the JSON without the samples.
 */
import { parseArgs } from "node:util";
import { knownToCluster, removeContainer, startRedis } from "../harness/containers.ts";
import { type CompletedMigration, migrate } from "../harness/migrate.ts";
import type { TestLab } from "../harness/test-lab.ts";
import { keepFindings, printFindings, RESULTS } from "./findings.ts";
import { inLab, MACHINES } from "./lab-benchmark.ts";
import { Load } from "./soft-dirty/load.ts";
import { preDumpStillMs } from "./soft-dirty/pre-dump.ts";
import { chart, judge, markdown, type Sample, summarise } from "./soft-dirty/report.ts";

const NAME = "bench-soft-dirty";
/** Each container has an address of its own: no neighbour has to forget one. */
const FIRST_ADDRESS = 40;

const { values } = parseArgs({
  options: {
    lab: { type: "string" },
    runs: { type: "string", default: "3" },
    megabytes: { type: "string", default: "512" },
    "writes-per-second": { type: "string", default: "20" },
    output: { type: "string", default: RESULTS },
  },
});

await inLab(values.lab, benchmark, MACHINES);

async function benchmark(lab: TestLab): Promise<void> {
  const samples: Sample[] = [];
  let given = 0;
  await lab.images(["redis"], lab.nodes);
  try {
    for (let run = 0; run < Number(values.runs); run++) {
      for (const mode of run % 2 === 0 ? (["stop-copy", "pre-copy"] as const) : (["pre-copy", "stop-copy"] as const)) {
        const sample = { run, mode, ...(await measure(lab, mode, lab.freeAddress(FIRST_ADDRESS + given++))) };
        samples.push(sample);
        process.stderr.write(
          `run ${run + 1}: ${mode}: ${sample.frozenMs.toFixed(0)} ms until all was sent, ${sample.memoryMs.toFixed(0)} ms of it memory\n`,
        );
      }
    }
  } finally {
    await removeContainer(lab, NAME);
  }
  const lines = summarise(samples);
  const goals = judge(samples);
  const findings = { lines, goals, markdown: markdown(lines, goals), svg: chart(lines) };
  await keepFindings(values.output, "soft-dirty", findings, samples);
  printFindings(findings);
}

async function measure(lab: TestLab, mode: Sample["mode"], address: string): Promise<Omit<Sample, "run" | "mode">> {
  const [source = "", destination = ""] = lab.nodes;
  await removeContainer(lab, NAME);
  // The kernel has AppArmor, but nobody has loaded Docker's profile, although Docker names it.
  const options = ["--security-opt", "apparmor=unconfined"];
  const { dockerId } = await startRedis(lab, {
    node: source,
    name: NAME,
    address,
    options,
    megabytes: Number(values.megabytes),
  });
  await knownToCluster(lab, NAME);
  const load = await Load.begin(address, Number(values["writes-per-second"]));
  const preDumpMs = mode === "pre-copy" ? await preDumpStillMs(lab, source, dockerId) : null;
  const report = await migrate(lab, NAME, destination, "--mode", mode);
  await load.end();
  return {
    frozenMs: endOf(report, "send-memory") - startOf(report, "freeze"),
    memoryMs: endOf(report, "send-memory") - endOf(report, "dump"),
    switchBytes: report.rounds.at(-1)?.bytes ?? 0,
    memoryBytes: report.memory_bytes,
    downtimeMs: report.downtime_ms,
    // The last one is the switch.
    stillMs: mode === "pre-copy" ? Math.max(...report.rounds.slice(0, -1).map((round) => round.still_ms)) : null,
    preDumpStillMs: preDumpMs,
  };
}

function phaseOf({ phases }: CompletedMigration, name: string) {
  const phase = phases.find((each) => each.name === name);
  if (phase === undefined) throw new Error(`the report has no ${name}`);
  return phase;
}

function startOf(report: CompletedMigration, name: string): number {
  return Date.parse(phaseOf(report, name).started_at);
}

function endOf(report: CompletedMigration, name: string): number {
  return startOf(report, name) + phaseOf(report, name).duration_ms;
}
