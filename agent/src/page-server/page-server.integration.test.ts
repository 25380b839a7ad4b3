import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MemoryImageReader } from "../memory-image/memory-image-reader.ts";
import { MemoryImageWriter } from "../memory-image/memory-image-writer.ts";
import { type ImageId, LAZY, PAGE_BYTES, type PageRange, PARENT, PRESENT } from "../memory-image/page-range.ts";
import { parsePagemap } from "../memory-image/pagemap-image.ts";
import { type PageServer, type PageServerOptions, type PageSink, startPageServer } from "./page-server.ts";
import { type Command, destinationOf, encodeCommand } from "./protocol.ts";

const NOBODY = 65_534;
/** Than the server gives a CRIU that has nothing more to say. */
const LONGER_THAN_LINGER_MS = 1500;
const TASK: ImageId = { kind: "task", id: 1 };
const DESTINATION = destinationOf(TASK);
const OPEN: Command = { operation: "openAnswered", destination: DESTINATION };
const CLOSE: Command = { operation: "close" };
const PAGE = Buffer.alloc(PAGE_BYTES, 7);

function add(vaddr: number, flags = PRESENT, pages = 1): Command {
  return { operation: "addFlagged", vaddr, pages, flags, destination: DESTINATION };
}

/** Notes what it is told. */
class NotingSink implements PageSink {
  readonly calls: string[] = [];
  hasParent = false;
  /** Awaited in every flush. */
  hold: Promise<void> | undefined;
  #bytes = 0;

  async parentHas({ kind, id }: ImageId): Promise<boolean> {
    this.calls.push(`parentHas ${kind} ${id}`);
    return this.hasParent;
  }
  async open({ kind, id }: ImageId): Promise<boolean> {
    this.calls.push(`open ${kind} ${id}`);
    return this.hasParent;
  }
  entry({ vaddr, pages, flags }: PageRange): void {
    this.calls.push(`entry ${vaddr.toString(16)} ${pages} ${flags}`);
  }
  data(bytes: Buffer): void {
    this.#bytes += bytes.length;
  }
  flush(): void | Promise<void> {
    if (this.#bytes > 0) this.calls.push(`data ${this.#bytes}`);
    this.#bytes = 0;
    return this.hold;
  }
  async close(): Promise<void> {
    this.calls.push("close");
  }
}

let root = "";
const sockets: Socket[] = [];
let sink: NotingSink;

beforeEach(async () => {
  root = await mkdtemp("/dev/shm/page-server-");
  sink = new NotingSink();
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await rm(root, { recursive: true });
});

function start(options: Partial<PageServerOptions> = {}): Promise<PageServer> {
  return startPageServer({ path: pathOf(), sink, deadlineMs: 20_000, ...options });
}

function pathOf(): string {
  return join(root, "socket");
}

async function client({ allowHalfOpen = false } = {}): Promise<Socket> {
  const socket = connect({ path: pathOf(), allowHalfOpen });
  sockets.push(socket);
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

function send(socket: Socket, ...parts: (Command | Buffer)[]): void {
  socket.write(Buffer.concat(parts.map((part) => (Buffer.isBuffer(part) ? part : encodeCommand(part, 32)))));
}

/** The next bytes of answer. */
async function answer(socket: Socket): Promise<string> {
  const [bytes] = (await once(socket, "data")) as [Buffer];
  return bytes.toString("hex");
}

/** Connects as another user, and tells of what became of it. */
async function asNobody(): Promise<string> {
  const program = `require("net").connect(${JSON.stringify(pathOf())}).on("error", (e) => process.stdout.write(e.code))`;
  const child = spawn(process.execPath, ["-e", program], {
    uid: NOBODY,
    gid: NOBODY,
    cwd: "/",
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await once(child, "close");
  return said;
}

test("takes a dump, and answers where CRIU waits", async () => {
  sink.hasParent = true;
  const server = await start();
  const criu = await client();
  send(criu, { ...OPEN, operation: "parent" });
  expect(await answer(criu)).toBe("01000000");
  send(criu, OPEN);
  expect(await answer(criu)).toBe("01");
  send(criu, add(0x1000, PARENT, 3), add(0x5000, LAZY), add(0x8000), PAGE, CLOSE);
  expect(await answer(criu)).toBe("00000000");
  criu.end();
  expect(sink.calls).toEqual([
    ...["parentHas task 1", "open task 1", "entry 1000 3 1", "entry 5000 1 2", "entry 8000 1 4", "close"],
  ]);
  expect(await server.done).toMatchObject({
    ...{ images: 1, ranges: 3, presentPages: 1, lazyPages: 1, parentPages: 3, contentBytes: 4096 },
  });
});

test("tells a CRIU that offers what it has left that nothing of it is wanted", async () => {
  const server = await start({ offersRest: true });
  const criu = await client({ allowHalfOpen: true });
  send(criu, OPEN);
  await answer(criu);
  send(criu, add(0x5000, LAZY, 9), { operation: "forceClose" });
  expect(await answer(criu)).toBe(`00000000${encodeCommand(CLOSE, 32).toString("hex")}`);
  expect(await server.done).toMatchObject({ lazyPages: 9, contentBytes: 0 });
  // CRIU has work to do before it answers, and fails if nobody hears it. That is no part of its stream any more.
  await new Promise((resolve) => setTimeout(resolve, LONGER_THAN_LINGER_MS));
  const written = Promise.withResolvers<Error | null | undefined>();
  criu.write(Buffer.alloc(4), written.resolve);
  expect(await written.promise).toBeFalsy();
  criu.end();
  await once(criu, "close");
});

test("lets go of a CRIU that has nothing left to say and leaves its end open", async () => {
  const controller = new AbortController();
  const server = await start({ offersRest: true, signal: controller.signal });
  const criu = await client({ allowHalfOpen: true });
  send(criu, CLOSE);
  criu.resume();
  await server.done;
  controller.abort();
  const failure = once(criu, "error");
  // What it writes finds nobody any more.
  criu.write(Buffer.alloc(4), () => criu.write(Buffer.alloc(4)));
  expect(await failure).toMatchObject([{ code: "EPIPE" }]);
});

test("writes images", async () => {
  const writer = await MemoryImageWriter.create(root);
  const server = await start({ sink: writer });
  const criu = await client();
  send(criu, OPEN);
  expect(await answer(criu)).toBe("00");
  const content = Buffer.from(Array.from({ length: 64 * PAGE_BYTES }, (_, at) => (at * 7) % 251));
  send(criu, add(0x10_0000, PRESENT, 40), content.subarray(0, 40 * PAGE_BYTES), add(0x20_0000, PRESENT | LAZY, 24));
  // In drops, as a slow link brings it.
  for (let at = 40 * PAGE_BYTES; at < content.length; at += 10_007) {
    send(criu, content.subarray(at, Math.min(at + 10_007, content.length)));
    await new Promise(setImmediate);
  }
  send(criu, CLOSE);
  expect(await answer(criu)).toBe("00000000");
  await server.done;
  const { ranges } = parsePagemap(await readFile(join(root, "pagemap-1.img")));
  expect([...ranges]).toEqual([
    { vaddr: 0x10_0000, pages: 40, flags: PRESENT },
    { vaddr: 0x20_0000, pages: 24, flags: PRESENT | LAZY },
  ]);
  expect((await readFile(join(root, "pages-65537.img"))).equals(content)).toBe(true);
  expect(await (await MemoryImageReader.open(root)).images()).toEqual([TASK]);
});

test("nobody but root comes to it", async () => {
  const server = await start();
  expect(await asNobody()).toBe("EACCES");
  send(await client(), CLOSE);
  await server.done;
  expect(sink.calls).toEqual(["close"]);
});

test("takes one dump and no more", async () => {
  const server = await start();
  const criu = await client();
  send(criu, OPEN);
  await answer(criu);
  await expect(client()).rejects.toThrow("ENOENT");
  send(criu, CLOSE);
  await server.done;
});

test("holds CRIU back while the sink is busy", async () => {
  const server = await start();
  const criu = await client();
  send(criu, OPEN);
  await answer(criu);
  const held = Promise.withResolvers<void>();
  sink.hold = held.promise;
  const pages = 16_384;
  send(criu, add(0x1000, PRESENT, pages));
  const content = Buffer.alloc(1 << 20, 1);
  for (let at = 0; at < pages * PAGE_BYTES; at += content.length) criu.write(content);
  criu.write(encodeCommand(CLOSE, 32));
  await expect.poll(() => sink.calls.some((call) => call.startsWith("entry"))).toBe(true);
  // The kernel's buffers take a few megabytes; the rest stays where it is.
  let before = -1;
  while (before !== criu.writableLength) {
    before = criu.writableLength;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(criu.writableLength).toBeGreaterThan(32 << 20);
  sink.hold = undefined;
  held.resolve();
  expect(await answer(criu)).toBe("00000000");
  expect(await server.done).toMatchObject({ presentPages: pages, contentBytes: pages * PAGE_BYTES });
});

test.each<[string, string, (Command | Buffer)[]]>([
  ["what is not CRIU's", "unknown operation", [Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")]],
  ["a hole where there is no parent", "a hole", [OPEN, add(0x1000, PARENT)]],
  ["a request for pages", "asks for pages", [OPEN, { operation: "get", vaddr: 4096, pages: 1, destination: 1n }]],
  ["more behind the end", "goes on after it was closed", [OPEN, CLOSE, CLOSE]],
])("fails of %s", async (_what, message, parts) => {
  const server = await start();
  const criu = await client();
  send(criu, ...parts);
  criu.resume();
  await expect(server.done).rejects.toMatchObject({
    reason: "CORRUPT_STREAM",
    message: expect.stringContaining(message) as string,
  });
  await once(criu, "close");
  expect(sink.calls).not.toContain("close");
});

test.each([
  ["ends", (socket: Socket) => socket.end()],
  ["is cut off", (socket: Socket) => socket.destroy()],
])("fails of a connection that %s before it was closed", async (_how, end) => {
  const server = await start();
  const criu = await client();
  send(criu, OPEN, add(0x1000, PRESENT, 2), PAGE);
  await answer(criu);
  end(criu);
  await expect(server.done).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
  expect(sink.calls).not.toContain("close");
});

test("fails of what the sink fails of, and lets go of CRIU", async () => {
  const server = await start();
  sink.close = () => Promise.reject(new Error("the disk is gone"));
  const criu = await client();
  send(criu, CLOSE);
  await expect(server.done).rejects.toThrow("the disk is gone");
  await once(criu, "close");
});

test("ends in time, with or without CRIU, and not while the sink is busy", async () => {
  await expect((await start({ deadlineMs: 50 })).done).rejects.toMatchObject({ reason: "TIMEOUT" });

  const controller = new AbortController();
  const server = await start({ signal: controller.signal });
  const held = Promise.withResolvers<void>();
  sink.hold = held.promise;
  send(await client(), OPEN);
  await expect.poll(() => sink.calls).toContain("open task 1");
  let ended = false;
  server.done.catch(() => (ended = true));
  controller.abort();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(ended).toBe(false);
  held.resolve();
  await expect(server.done).rejects.toMatchObject({ reason: "CANCELLED" });
  await expect(start({ signal: controller.signal })).rejects.toThrow();
});
