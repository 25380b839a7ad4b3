/** One end of the page path benchmark, a process of its own; takes orders over IPC. */
import { readFile } from "node:fs/promises";
import { connect, createServer } from "node:tls";
import { type Identity, tlsClientOptions, tlsServerOptions } from "@drayage/shared/identity/identity.ts";
import { IncomingContent } from "@drayage/shared/page-stream/incoming-file.ts";
import { storeFile } from "@drayage/shared/page-stream/store-file.ts";
import { connectTransfer } from "@drayage/shared/page-stream/transfer-client.ts";
import { startTransferServer } from "@drayage/shared/page-stream/transfer-server.ts";

export type Way = "raw" | "page" | "page-store";

export type Order =
  | { readonly act: "listen"; readonly directory: string; readonly target: string }
  | {
      readonly act: "send";
      readonly way: Way;
      readonly port: number;
      readonly source: string;
      readonly totalBytes: number;
    }
  | { readonly act: "usage" };

export interface Answer {
  readonly port?: number;
  readonly durationMs?: number;
  readonly peakResidentBytes?: number;
  /** Processor time of this process so far. */
  readonly cpuMs?: number;
}

const identity = JSON.parse(process.env["BENCH_IDENTITY"] ?? "") as Identity;
const TOKEN = "benchmark";
const RAW_WRITE_BYTES = 256 * 1024;

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
      return { peakResidentBytes: await peakResidentBytes(), cpuMs: cpuMs() };
  }
}

/** The raw socket listens on the port after the page server's. */
async function listen(target: string): Promise<number> {
  const server = await startTransferServer({ identity, address: "127.0.0.1:0" });
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
    socket.on("data", (chunk: Buffer) => {
      expected ??= Number(chunk.readBigUInt64BE(0));
      received += chunk.length;
      if (received === expected) socket.end("done");
    });
  });
  await new Promise<void>((resolve) => raw.listen(server.port + 1, "127.0.0.1", resolve));
  return server.port;
}

async function send(order: Extract<Order, { act: "send" }>): Promise<number> {
  if (order.way === "raw") return await sendRaw(order.port + 1, order.totalBytes);
  const connection = await connectTransfer({
    identity,
    addresses: [`127.0.0.1:${order.port}`],
    peerName: "n2",
    token: TOKEN,
    migrationId: "bench",
  });
  const startedAt = performance.now();
  await connection.send({ kind: order.way, name: "pages-1.img" }, { path: order.source });
  const durationMs = performance.now() - startedAt;
  await connection.close();
  return durationMs;
}

/** As fast as node:tls goes: the same buffer over and over, one write at a time waiting. */
async function sendRaw(port: number, totalBytes: number): Promise<number> {
  const socket = connect({ ...tlsClientOptions(identity, { role: "agent", name: "n2" }), host: "127.0.0.1", port });
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  const block = Buffer.alloc(RAW_WRITE_BYTES, 0x5a);
  block.writeBigUInt64BE(BigInt(totalBytes), 0);
  const startedAt = performance.now();
  for (let sent = 0; sent < totalBytes; sent += block.length) {
    const piece = block.subarray(0, Math.min(block.length, totalBytes - sent));
    if (!socket.write(piece)) await new Promise((resolve) => socket.once("drain", resolve));
  }
  await new Promise((resolve) => socket.once("data", resolve));
  const durationMs = performance.now() - startedAt;
  socket.destroy();
  return durationMs;
}

async function peakResidentBytes(): Promise<number> {
  const status = await readFile("/proc/self/status", "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
