/**
 * Speed of the page path against a raw node:tls socket, side by side: rounds of both, interleaved, sender and receiver
 * in a process each, same certificates and cipher. Prints the median of each, the ratio, and the receiver's and the
 * sender's largest resident set.
 *
 * usage: page-path.ts [--bytes 2147483648] [--rounds 7] [--directory /dev/shm] [--json]
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtemp, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createAuthority, issueIdentity } from "@drayage/shared/identity/authority.ts";
import type { Identity } from "@drayage/shared/identity/identity.ts";
import { median } from "./statistics.ts";
import type { Answer, Order, Way } from "./page-path-peer.ts";

const MIB = 1024 * 1024;
const WAYS: readonly Way[] = ["raw", "page", "page-store"];
const LABELS: Record<Way, string> = {
  raw: "raw node:tls, from memory, thrown away",
  page: "page path, from a file, checked, thrown away",
  "page-store": "page path, from a file, checked, into a file",
};

interface Sample {
  readonly mibPerSecond: number;
  /** Processor time of sender and receiver together. */
  readonly cpuMsPerGib: number;
}

const { values } = parseArgs({
  options: {
    bytes: { type: "string", default: String(2048 * MIB) },
    rounds: { type: "string", default: "7" },
    directory: { type: "string", default: "/dev/shm" },
    json: { type: "boolean", default: false },
  },
});
const totalBytes = Number(values.bytes);
const rounds = Number(values.rounds);

const authority = await createAuthority("bench");
const n1 = await issueIdentity(authority, { role: "agent", name: "n1" });
const n2 = await issueIdentity(authority, { role: "agent", name: "n2" });
const directory = await mkdtemp(join(values.directory, "page-path-"));
const receiver = peer(n2);
const sender = peer(n1);
try {
  const source = join(directory, "source");
  await writePattern(source, totalBytes);
  const target = join(directory, "target");
  const { port } = await ask(receiver, { act: "listen", directory, target });
  const samples = new Map<Way, Sample[]>(WAYS.map((way) => [way, []]));
  for (let round = 0; round <= rounds; round++) {
    for (const way of WAYS) {
      const sample = await measure(way, port as number, source);
      // The first round warms both processes up.
      if (round > 0) samples.get(way)?.push(sample);
    }
  }
  const [sent, received] = await Promise.all([ask(sender, { act: "usage" }), ask(receiver, { act: "usage" })]);
  report(samples, sent.peakResidentBytes as number, received.peakResidentBytes as number);
} finally {
  sender.kill();
  receiver.kill();
  await rm(directory, { recursive: true });
}

async function measure(way: Way, port: number, source: string): Promise<Sample> {
  const before = await usedCpuMs();
  const { durationMs } = await ask(sender, { act: "send", way, port, source, totalBytes });
  const cpuMs = (await usedCpuMs()) - before;
  const mib = totalBytes / MIB;
  return { mibPerSecond: mib / ((durationMs as number) / 1000), cpuMsPerGib: cpuMs / (mib / 1024) };
}

/** Of both processes together. */
async function usedCpuMs(): Promise<number> {
  const answers = await Promise.all([ask(sender, { act: "usage" }), ask(receiver, { act: "usage" })]);
  return answers.reduce((sum, { cpuMs }) => sum + (cpuMs as number), 0);
}

function peer(identity: Identity): ChildProcess {
  return fork(new URL("./page-path-peer.ts", import.meta.url), [], {
    env: { ...process.env, BENCH_IDENTITY: JSON.stringify(identity) },
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

async function writePattern(path: string, bytes: number): Promise<void> {
  const handle = await open(path, "w");
  const block = Buffer.alloc(MIB);
  for (let at = 0; at < bytes; at += MIB) {
    block.fill(`block ${at} `);
    await handle.write(block, 0, Math.min(MIB, bytes - at));
  }
  await handle.close();
}

function report(samples: Map<Way, Sample[]>, senderBytes: number, receiverBytes: number): void {
  const rate = (way: Way) => median((samples.get(way) as Sample[]).map(({ mibPerSecond }) => mibPerSecond));
  const cpu = (way: Way) => median((samples.get(way) as Sample[]).map(({ cpuMsPerGib }) => cpuMsPerGib));
  const each = <T>(value: (way: Way) => T) => Object.fromEntries(WAYS.map((way) => [way, value(way)]));
  const result = {
    bytes: totalBytes,
    rounds,
    mib_per_second: each(rate),
    cpu_ms_per_gib: each(cpu),
    ratio: each((way) => rate(way) / rate("raw")),
    peak_resident_mib: { sender: Math.round(senderBytes / MIB), receiver: Math.round(receiverBytes / MIB) },
  };
  if (values.json) {
    console.log(JSON.stringify(result));
    return;
  }
  for (const way of WAYS) {
    const share = `${((100 * rate(way)) / rate("raw")).toFixed(0)} %`;
    console.log(
      `${LABELS[way].padEnd(48)}${rate(way).toFixed(0).padStart(6)} MiB/s${share.padStart(7)}${cpu(way).toFixed(0).padStart(7)} ms CPU/GiB`,
    );
  }
  console.log(
    `peak resident: sender ${result.peak_resident_mib.sender} MiB, receiver ${result.peak_resident_mib.receiver} MiB`,
  );
}
