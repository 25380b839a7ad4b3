/**
 * Speed of the page path against a raw node:tls socket, side by side: rounds of all ways, interleaved, sender and
 * receiver in a process each, same certificates, cipher and content.
 *
 * The content is noise: what the page path saves by compression says nothing of the path. `half` is half noise, half
 * one byte, in turns of 512 KiB, which is what the downtime benchmark moves; there the ratio says what leaving pages
 * out is worth. `words` is words among noise, of which compression saves some 40 %: it may not make the path slower.
 *
 * With --connections the page path has so many lanes, a thread each at both ends. Processor time is told of the whole
 * process and of its main thread, which is what one core has to carry: on a machine with few cores the rate says nothing
 * of what lanes are worth, the main thread's time does.
 *
 * usage: page-path.ts [--bytes 1073741824] [--rounds 7] [--content noise|half|words] [--connections 1] [--directory /dev/shm]
 *                     [--output DIR]
 *
 * Needs no lab. Writes page-path.json, page-path.md and page-path.svg, for `half` page-path-half.* and so on, with lanes
 * page-path-N-connections.*; prints the JSON without the samples.
 */
import { type ChildProcess, fork } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { mkdtemp, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import buildAddon from "../../agent/native/global-setup.ts";
import { createAuthority, issueIdentity } from "@drayage/shared/identity/authority.ts";
import type { Identity } from "@drayage/shared/identity/identity.ts";
import { keepFindings, printFindings, RESULTS } from "./findings.ts";
import type { Answer, Order, Way } from "./page-path/peer.ts";
import { chart, judge, markdown, type Sample, summarise, WAYS } from "./page-path/report.ts";

const MIB = 1024 * 1024;
/** The source repeats itself after this long, many times what is looked at for compression at one time. */
const PERIOD_BYTES = 16 * MIB;
const { values } = parseArgs({
  options: {
    bytes: { type: "string", default: String(1024 * MIB) },
    rounds: { type: "string", default: "7" },
    content: { type: "string", default: "noise" },
    connections: { type: "string", default: "1" },
    directory: { type: "string", default: "/dev/shm" },
    output: { type: "string", default: RESULTS },
  },
});
const totalBytes = Number(values.bytes);
const rounds = Number(values.rounds);
const connections = Number(values.connections);
const { content } = values;
if (!["noise", "half", "words"].includes(content)) throw new Error(`--content ${content}: noise, half or words`);

buildAddon();
const authority = await createAuthority("bench");
const n1 = await issueIdentity(authority, { role: "agent", name: "n1" });
const n2 = await issueIdentity(authority, { role: "agent", name: "n2" });
const directory = await mkdtemp(join(values.directory, "page-path-"));
const receiver = peer(n2);
const sender = peer(n1);
try {
  const source = join(directory, "source");
  await writeSource(source, totalBytes);
  const { port } = await ask(receiver, { act: "listen", target: join(directory, "target") });
  const samples: Sample[] = [];
  for (let round = 0; round <= rounds; round++) {
    for (const way of WAYS) {
      const sample = await measure(way, round, port as number, source);
      // The first round warms both processes up.
      if (round > 0) samples.push(sample);
    }
  }
  const used = await usages();
  const peakResidentMib = used.map(({ peakResidentBytes }) => Math.round((peakResidentBytes as number) / MIB));
  process.stderr.write(`largest resident sets of sender and receiver: ${peakResidentMib.join(" and ")} MiB\n`);
  const lines = summarise(samples);
  const goals = content === "noise" && connections === 1 ? judge(lines) : [];
  const findings = { lines, goals, markdown: markdown(lines, goals), svg: chart(lines) };
  const name = ["page-path", ...(content === "noise" ? [] : [content])];
  if (connections > 1) name.push(`${connections}-connections`);
  await keepFindings(values.output, name.join("-"), findings, {
    content,
    connections,
    peakResidentMib,
    samples,
  });
  printFindings(findings);
} finally {
  sender.kill();
  receiver.kill();
  await rm(directory, { recursive: true });
}

async function measure(way: Way, round: number, port: number, source: string): Promise<Sample> {
  const before = await usages();
  const order: Order = { act: "send", way, port, source, periodBytes: PERIOD_BYTES, totalBytes };
  const { durationMs } = await ask(sender, order);
  const after = await usages();
  const mib = totalBytes / MIB;
  const perGib = (value: "cpuMs" | "mainCpuMs") =>
    after.map((usage, end) => ((usage[value] as number) - (before[end]?.[value] as number)) / (mib / 1024));
  const [senderCpuMs = 0, receiverCpuMs = 0] = perGib("cpuMs");
  const [senderMainCpuMs = 0, receiverMainCpuMs = 0] = perGib("mainCpuMs");
  const mibPerSecond = mib / ((durationMs as number) / 1000);
  return { way, round, mibPerSecond, senderCpuMs, senderMainCpuMs, receiverCpuMs, receiverMainCpuMs };
}

/** Of the sender, and of the receiver. */
async function usages(): Promise<Answer[]> {
  return await Promise.all([ask(sender, { act: "usage" }), ask(receiver, { act: "usage" })]);
}

function peer(identity: Identity): ChildProcess {
  return fork(new URL("./page-path/peer.ts", import.meta.url), [], {
    env: { ...process.env, BENCH_IDENTITY: JSON.stringify(identity), BENCH_CONNECTIONS: String(connections) },
  });
}

function ask(process: ChildProcess, order: Order): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null) => reject(new Error(`peer ended with ${code}`));
    process.once("exit", onExit);
    process.once("message", (answer: Answer) => {
      process.off("exit", onExit);
      resolve(answer);
    });
    process.send(order);
  });
}

/** Half of it, in pieces of a record's length, becomes words of a vocabulary. */
function writeWords(period: Buffer): void {
  const vocabulary = Array.from({ length: 1024 }, (_, word) => Buffer.from(`word-${word * word} `));
  for (let at = 0; at < period.length; at += 512) {
    for (let end = at; end < at + 256; ) {
      const word = vocabulary[period.readUInt16LE(end) % vocabulary.length] as Buffer;
      end += word.copy(period, end);
    }
  }
}

async function writeSource(path: string, bytes: number): Promise<void> {
  const period = randomFillSync(Buffer.alloc(PERIOD_BYTES));
  if (content === "half") for (let at = 0; at < PERIOD_BYTES; at += MIB) period.fill("x", at, at + MIB / 2);
  if (content === "words") writeWords(period);
  const handle = await open(path, "w");
  for (let at = 0; at < bytes; at += PERIOD_BYTES) {
    await handle.write(period, 0, Math.min(PERIOD_BYTES, bytes - at));
  }
  await handle.close();
}
