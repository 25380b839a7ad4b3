/** One end of the page path benchmark, a process of its own; takes orders over IPC. */
import { closeSync, openSync, writeSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { connect, createServer } from "node:tls";
import { type Identity, tlsClientOptions, tlsServerOptions } from "@drayage/shared/identity/identity.ts";
import { IncomingContent } from "@drayage/shared/page-stream/incoming-file.ts";
import { openLaneThreads } from "@drayage/shared/page-stream/lanes/lane-threads.ts";
import { storeFile } from "@drayage/shared/page-stream/store-file.ts";
import { connectTransfer } from "@drayage/shared/page-stream/transfer-client.ts";
import { startTransferServer } from "@drayage/shared/page-stream/transfer-server.ts";
import { useFastCrc32 } from "../../../agent/src/native/fast-crc32.ts";

// As the agent does.
useFastCrc32();

/** A plain socket or the page path; the content thrown away at its end, or stored in a file. */
export type Way = "raw" | "raw-store" | "page" | "page-store";

export type Order =
  | { readonly act: "listen"; readonly target: string }
  | {
      readonly act: "send";
      readonly way: Way;
      readonly port: number;
      readonly source: string;
      /** The source repeats itself after this long. */
      readonly periodBytes: number;
      readonly totalBytes: number;
    }
  | { readonly act: "usage" };

export interface Answer {
  readonly port?: number;
  readonly durationMs?: number;
  readonly peakResidentBytes?: number;
  /** Processor time of this process so far. */
  readonly cpuMs?: number;
  /** And of its main thread. */
  readonly mainCpuMs?: number;
}

const identity = JSON.parse(process.env["BENCH_IDENTITY"] ?? "") as Identity;
const connections = Number(process.env["BENCH_CONNECTIONS"]);
const lanes =
  connections === 1
    ? undefined
    : await openLaneThreads({
        identity,
        count: connections,
        host: "127.0.0.1",
        firstPort: 0,
        onIncident: (message, details) => process.stderr.write(`${message}: ${JSON.stringify(details)}\n`),
      });
const TOKEN = "benchmark";
const RAW_WRITE_BYTES = 256 * 1024;
/** Head of a raw transfer: 1 if it is to be stored, then its length, head included. */
const RAW_HEAD_BYTES = 9;

/** What raw sockets send, read once. */
let period: Buffer | undefined;

process.on("message", (order: Order) => {
  void answer(order).then((reply) => process.send?.(reply));
});

async function answer(order: Order): Promise<Answer> {
  switch (order.act) {
    case "listen":
      return { port: await listen(order.target) };
    case "send":
      return { durationMs: await send(order) };
    case "usage":
      return {
        peakResidentBytes: await peakResidentBytes(),
        cpuMs: msOf(process.cpuUsage()),
        mainCpuMs: msOf(process.threadCpuUsage()),
      };
  }
}

/** The raw socket listens on the port after the page server's. */
async function listen(target: string): Promise<number> {
  const server = await startTransferServer({ identity, address: "127.0.0.1:0", lanes });
  server.authorise({
    token: TOKEN,
    migrationId: "bench",
    peerName: "n1",
    async receive({ kind, content }) {
      if (kind === "page-store") return void (await storeFile(content, target, { sync: false }));
      for await (const chunk of content) {
        if (content instanceof IncomingContent) content.recycle(chunk as Buffer);
      }
    },
  });
  const raw = createServer(tlsServerOptions(identity), (socket) => {
    let expected: number | undefined;
    let received = 0;
    let file: number | undefined;
    socket.on("data", (chunk: Buffer) => {
      if (expected === undefined) {
        expected = Number(chunk.readBigUInt64BE(1));
        if (chunk.readUInt8(0) === 1) file = openSync(target, "w");
      }
      received += chunk.length;
      if (file !== undefined) writeSync(file, chunk);
      if (received < expected) return;
      if (file !== undefined) closeSync(file);
      socket.end("done");
    });
  });
  await new Promise<void>((resolve) => raw.listen(server.port + 1, "127.0.0.1", resolve));
  return server.port;
}

async function send(order: Extract<Order, { act: "send" }>): Promise<number> {
  if (order.way === "raw" || order.way === "raw-store") return await sendRaw(order);
  const connection = await connectTransfer({
    identity,
    addresses: [`127.0.0.1:${order.port}`],
    peerName: "n2",
    token: TOKEN,
    migrationId: "bench",
    lanes,
    onIncident: (message, details) => {
      throw new Error(`${message}: ${JSON.stringify(details)}`);
    },
  });
  const startedAt = performance.now();
  await connection.send({ kind: order.way, name: "pages-1.img" }, { path: order.source }, { striped: true });
  const durationMs = performance.now() - startedAt;
  await connection.close();
  return durationMs;
}

/** As fast as node:tls goes: the same content from memory, one write at a time waiting. */
async function sendRaw(order: Extract<Order, { act: "send" }>): Promise<number> {
  const { way, port, source, periodBytes, totalBytes } = order;
  period ??= await startOf(source, periodBytes);
  const options = tlsClientOptions(identity, { role: "agent", name: "n2" });
  const socket = connect({ ...options, host: "127.0.0.1", port: port + 1 });
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  const head = Buffer.alloc(RAW_HEAD_BYTES);
  head.writeUInt8(way === "raw-store" ? 1 : 0, 0);
  head.writeBigUInt64BE(BigInt(RAW_HEAD_BYTES + totalBytes), 1);
  const startedAt = performance.now();
  socket.write(head);
  for (let sent = 0; sent < totalBytes; sent += RAW_WRITE_BYTES) {
    const at = sent % periodBytes;
    const piece = period.subarray(at, at + Math.min(RAW_WRITE_BYTES, totalBytes - sent));
    if (!socket.write(piece)) await new Promise((resolve) => socket.once("drain", resolve));
  }
  await new Promise((resolve) => socket.once("data", resolve));
  const durationMs = performance.now() - startedAt;
  socket.destroy();
  return durationMs;
}

async function startOf(path: string, bytes: number): Promise<Buffer> {
  const handle = await open(path);
  const { buffer } = await handle.read(Buffer.allocUnsafeSlow(bytes), 0, bytes, 0);
  await handle.close();
  return buffer;
}

async function peakResidentBytes(): Promise<number> {
  const status = await readFile("/proc/self/status", "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

function msOf({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / 1000;
}
