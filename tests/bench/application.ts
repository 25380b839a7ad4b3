/**
 * What pre-copy costs the application that is moved: the commands that a Redis under full load carries out in a second,
 * while nothing is moved and while its memory is copied. The agents of both nodes have the first core, Redis and its
 * client the second.
 *
 * usage: application.ts [--lab NAME] [--runs 7] [--megabytes 1024] [--output DIR]
 *
 * Without --lab it brings a lab up and takes it down again. Needs two cores. Writes application.json, application.md
 * and application.svg; prints the JSON without the samples.
 */
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { LineConnection } from "../../deploy/held-client/line-connection.ts";
import { encodeCommand } from "../../deploy/held-client/redis.ts";
import { knownToCluster, NETWORK, removeContainer, startRedis } from "../harness/containers.ts";
import { migrate } from "../harness/migrate.ts";
import type { TestLab } from "../harness/test-lab.ts";
import { chart, type Count, judge, markdown, ratesOf, type Sample, summarise } from "./application/report.ts";
import { keepFindings, printFindings, RESULTS } from "./findings.ts";
import { inLab } from "./lab-benchmark.ts";

const NAME = "bench-application";
const CLIENT = "bench-application-client";
const AGENT_CORE = "0";
const APPLICATION_CORE = "1";
const QUIET_MS = 4_000;
const COUNT_EVERY_MS = 50;
const COMMANDS = encodeCommand([
  "EVAL",
  "return tonumber(string.match(redis.call('INFO', 'stats'), 'total_commands_processed:(%d+)'))",
  "0",
]);

const { values } = parseArgs({
  options: {
    lab: { type: "string" },
    runs: { type: "string", default: "7" },
    megabytes: { type: "string", default: "1024" },
    output: { type: "string", default: RESULTS },
  },
});

await inLab(values.lab, benchmark);

async function benchmark(lab: TestLab): Promise<void> {
  const [source = "", destination = ""] = lab.nodes;
  const samples: Sample[] = [];
  await lab.images(["redis"], [source, destination]);
  try {
    for (const node of [source, destination]) await bind(lab, node, await agentPid(lab, node), AGENT_CORE);
    for (let run = 0; run < Number(values.runs); run++) {
      const sample = { run, ...(await measure(lab, source, destination)) };
      samples.push(sample);
      const { quietPerSecond, copyingPerSecond } = sample;
      process.stderr.write(
        `run ${run + 1}: ${quietPerSecond.toFixed(0)} commands a second, ${copyingPerSecond.toFixed(0)} while it is copied\n`,
      );
    }
  } finally {
    for (const node of [source, destination]) await bind(lab, node, await agentPid(lab, node), "0-1");
    for (const name of [CLIENT, NAME]) await removeContainer(lab, name);
  }
  const lines = summarise(samples);
  const goals = judge(lines);
  const findings = { lines, goals, markdown: markdown(lines, goals), svg: chart(lines) };
  await keepFindings(values.output, "application", findings, samples);
  printFindings(findings);
}

async function measure(lab: TestLab, source: string, destination: string): Promise<Omit<Sample, "run">> {
  for (const name of [CLIENT, NAME]) await removeContainer(lab, name);
  const address = lab.freeAddress(76);
  const megabytes = Number(values.megabytes);
  await startRedis(lab, { node: source, name: NAME, address, runtime: "drayage", megabytes });
  await bind(lab, source, await containerPid(lab, source, NAME), APPLICATION_CORE);
  const load = ["redis-benchmark", "-h", address, "-t", "get,set", "-r", "10000", "-c", "20", "-l", "-q"];
  const place = ["--detach", `--name=${CLIENT}`, `--network=${NETWORK}`, `--ip=${lab.freeAddress(77)}`];
  await lab.docker(destination, "run", ...place, "redis:latest", ...load);
  await bind(lab, destination, await containerPid(lab, destination, CLIENT), APPLICATION_CORE);
  await knownToCluster(lab, NAME);
  const counting = await count(address);
  try {
    await delay(QUIET_MS);
    const { phases, rounds } = await migrate(lab, NAME, destination, "--mode", "pre-copy");
    const copying = phases
      .filter(({ name }) => name === "pre-copy")
      .map(({ started_at, duration_ms }) => ({ fromMs: Date.parse(started_at), durationMs: duration_ms }));
    return { ...ratesOf(counting.counts, copying), rounds: rounds.length };
  } finally {
    await counting.stop();
  }
}

/** Asks Redis all the time how many commands it has carried out; its own are among them. */
async function count(address: string): Promise<{ readonly counts: readonly Count[]; stop(): Promise<void> }> {
  const counts: Count[] = [];
  const client = await LineConnection.open({ host: address, port: 6379 });
  const ending = new AbortController();
  const asking = (async () => {
    while (!ending.signal.aborted) {
      const commands = Number((await client.ask(COMMANDS)).slice(1));
      counts.push({ atMs: Date.now(), commands });
      await delay(COUNT_EVERY_MS);
    }
  })();
  // Looked at when it is stopped.
  asking.catch(() => undefined);
  return {
    counts,
    stop: async () => {
      ending.abort();
      await asking;
      client.close();
    },
  };
}

async function bind(lab: TestLab, node: string, pid: string, cores: string): Promise<void> {
  await lab.exec(node, ["taskset", "--all-tasks", "--cpu-list", "--pid", cores, pid]);
}

async function agentPid(lab: TestLab, node: string): Promise<string> {
  return await lab.exec(node, ["systemctl", "show", "--property=MainPID", "--value", "drayage-agent"]);
}

async function containerPid(lab: TestLab, node: string, name: string): Promise<string> {
  return await lab.docker(node, "inspect", "--format={{.State.Pid}}", name);
}
