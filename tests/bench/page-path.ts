/**
 * Speed of the page path against a raw node:tls socket, side by side: rounds of all ways, interleaved, sender and
 * receiver in a process each, same certificates, cipher and content. Prints the median of each, the ratio to the raw
 * socket that does the same with what arrives, and the receiver's and the sender's largest resident set.
 *
 * The content is noise: what the page path saves by compression says nothing of the path. `half` is half noise, half
 * one byte, in turns of 512 KiB, which is what the downtime benchmark moves; there the ratio says what compression is
 * worth.
 *
 * usage: page-path.ts [--bytes 1073741824] [--rounds 7] [--content noise|half] [--directory /dev/shm] [--json]
 */
import { type ChildProcess, fork } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { mkdtemp, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createAuthority, issueIdentity } from "@drayage/shared/identity/authority.ts";
import type { Identity } from "@drayage/shared/identity/identity.ts";
import type { Answer, Order, Way } from "./page-path-peer.ts";
import { median } from "./statistics.ts";

const MIB = 1024 * 1024;
/** The source repeats itself after this long, many times what is looked at for compression at one time. */
const PERIOD_BYTES = 16 * MIB;
const WAYS: readonly Way[] = ["raw", "page", "raw-store", "page-store"];
const LABELS: Record<Way, string> = {
  raw: "raw node:tls, from memory, thrown away",
  page: "page path, from a file, checked, thrown away",
  "raw-store": "raw node:tls, from memory, into a file",
  "page-store": "page path, from a file, checked, into a file",
};
/** What a way is compared with. */
const BASES: Record<Way, Way> = { raw: "raw", page: "raw", "raw-store": "raw-store", "page-store": "raw-store" };

interface Sample {
  readonly mibPerSecond: number;
  /** Processor time of sender and receiver together. */
  readonly cpuMsPerGib: number;
}

const { values } = parseArgs({
  options: {
    bytes: { type: "string", default: String(1024 * MIB) },
    rounds: { type: "string", default: "7" },
    content: { type: "string", default: "noise" },
    directory: { type: "string", default: "/dev/shm" },
    json: { type: "boolean", default: false },
  },
});
const totalBytes = Number(values.bytes);
const rounds = Number(values.rounds);
const { content } = values;
if (content !== "noise" && content !== "half") throw new Error(`--content ${content}: noise or half`);

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
  const order: Order = { act: "send", way, port, source, periodBytes: PERIOD_BYTES, totalBytes };
  const { durationMs } = await ask(sender, order);
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

async function writeSource(path: string, bytes: number): Promise<void> {
  const period = randomFillSync(Buffer.alloc(PERIOD_BYTES));
  if (content === "half") for (let at = 0; at < PERIOD_BYTES; at += MIB) period.fill("x", at, at + MIB / 2);
  const handle = await open(path, "w");
  for (let at = 0; at < bytes; at += PERIOD_BYTES) {
    await handle.write(period, 0, Math.min(PERIOD_BYTES, bytes - at));
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
    content,
    mib_per_second: each(rate),
    cpu_ms_per_gib: each(cpu),
    ratio: each((way) => rate(way) / rate(BASES[way])),
    peak_resident_mib: { sender: Math.round(senderBytes / MIB), receiver: Math.round(receiverBytes / MIB) },
  };
  if (values.json) {
    console.log(JSON.stringify(result));
    return;
  }
  for (const way of WAYS) {
    const share = `${(100 * (result.ratio[way] as number)).toFixed(0)} %`;
    console.log(
      `${LABELS[way].padEnd(48)}${rate(way).toFixed(0).padStart(6)} MiB/s${share.padStart(7)}${cpu(way).toFixed(0).padStart(7)} ms CPU/GiB`,
    );
  }
  console.log(
    `peak resident: sender ${result.peak_resident_mib.sender} MiB, receiver ${result.peak_resident_mib.receiver} MiB`,
  );
}
