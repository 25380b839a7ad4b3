/**
 * Downtime of moving a running Redis from one node to another: Drayage and the ways there are without it, in turns.
 * Downtime is the time between two replies on a client's one connection where that connection lives on, else from the
 * stop of the process to the first reply at the new place.
 *
 * usage: downtime.ts [--lab NAME] [--runs 15] [--megabytes 100,1024] [--ways docker,podman,runc,auto,...] [--output DIR]
 *
 * Without --lab it brings a lab up and takes it down again; a lab that is given needs two nodes and Drayage, and gets
 * Docker's experimental mode and Podman. Writes downtime.json, downtime.md and downtime.svg; prints the JSON without
 * the samples.
 */
import { parseArgs } from "node:util";
import { copyBetween, receiving, sendingTo } from "../harness/node-stream.ts";
import type { TestLab } from "../harness/test-lab.ts";
import { Drayage } from "./downtime/drayage.ts";
import { PlainRunc } from "./downtime/plain-runc.ts";
import { Podman } from "./downtime/podman.ts";
import { chart, judge, markdown, type Sample, summarise } from "./downtime/report.ts";
import { StockDocker } from "./downtime/stock-docker.ts";
import { holdWarmMemory } from "./downtime/warm-memory.ts";
import { type Measurement, type Way, WAYS, type WayName } from "./downtime/way.ts";
import { keepFindings, printFindings, RESULTS } from "./findings.ts";
import { inLab } from "./lab-benchmark.ts";

const { values } = parseArgs({
  options: {
    lab: { type: "string" },
    runs: { type: "string", default: "15" },
    megabytes: { type: "string", default: "100,1024" },
    ways: { type: "string", default: WAYS.join() },
    output: { type: "string", default: RESULTS },
  },
});

const sizes = values.megabytes.split(",").map(Number);
const chosen = values.ways.split(",");
const wayNames = WAYS.filter((name) => chosen.includes(name));

await inLab(values.lab, benchmark);

async function benchmark(lab: TestLab): Promise<void> {
  const ways = await prepare(lab);
  const samples: Sample[] = [];
  try {
    for (let run = 0; run < Number(values.runs); run++) {
      for (const megabytes of sizes) {
        // Another way is first each time: none always profits from what the one before it left in the caches.
        for (const way of rotated(ways, run)) {
          const measurement = await measure(way, megabytes);
          samples.push({ way: way.name, megabytes, run, ...measurement });
          const { downtimeMs, totalMs } = measurement;
          say(
            `run ${run + 1}: ${megabytes} MB ${way.name}: downtime ${downtimeMs.toFixed(0)} ms, total ${totalMs.toFixed(0)} ms`,
          );
        }
      }
      await keep(samples);
    }
  } finally {
    for (const way of ways) await way.cleanUp();
  }
  printFindings(findingsOf(samples));
}

async function measure(way: Way, megabytes: number): Promise<Measurement> {
  const memory = await holdWarmMemory(megabytes);
  try {
    return await way.measure(megabytes, memory.release);
  } finally {
    await memory.release();
  }
}

async function prepare(lab: TestLab): Promise<Way[]> {
  const [one, other] = lab.nodes;
  if (one === undefined || other === undefined) throw new Error("the lab has fewer than two nodes");
  const nodes = [one, other] as const;
  const make: Readonly<Record<WayName, () => Way>> = {
    docker: () => new StockDocker(lab, nodes),
    podman: () => new Podman(lab, nodes),
    runc: () => new PlainRunc(lab, nodes),
    auto: () => new Drayage(lab, nodes, "auto"),
    "stop-copy": () => new Drayage(lab, nodes, "stop-copy"),
    "pre-copy": () => new Drayage(lab, nodes, "pre-copy"),
    hybrid: () => new Drayage(lab, nodes, "hybrid"),
    "post-copy": () => new Drayage(lab, nodes, "post-copy"),
  };
  await shareImage(lab, nodes);
  const ways = wayNames.map((name) => make[name]());
  for (const way of ways) {
    say(`preparing ${way.name}`);
    await way.prepare();
  }
  return ways;
}

/** The same image on both nodes: whoever restores wants the one that was checkpointed. */
async function shareImage(lab: TestLab, [source, destination]: readonly [string, string]): Promise<void> {
  await lab.images(["redis"], [source]);
  const send = `docker save redis:latest | ${sendingTo(lab.nodeAddress(destination))}`;
  await copyBetween(lab, { source, destination, send, receive: receiving("docker load") });
}

function findingsOf(samples: readonly Sample[]) {
  const lines = summarise(samples);
  const goals = judge(samples);
  return { lines, goals, markdown: markdown(lines, goals), svg: chart(lines) };
}

async function keep(samples: readonly Sample[]): Promise<void> {
  await keepFindings(values.output, "downtime", findingsOf(samples), samples);
}

function rotated<T>(items: readonly T[], by: number): T[] {
  return items.map((_, index) => items[(index + by) % items.length] as T);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
