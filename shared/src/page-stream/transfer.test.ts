/** Both ends over real mTLS on the loopback. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect as connectTcp, createServer as createTcpServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { DrayError } from "../errors/dray-error.ts";
import { createAuthority, issueIdentity } from "../identity/authority.ts";
import { type Identity, tlsClientOptions } from "../identity/identity.ts";
import { encodeFrame, FrameDecoder } from "./frame.ts";
import { decodeMessage, encodeMessage, PROTOCOL_VERSIONS, STREAM_LIMIT } from "./messages.ts";
import { storeFile } from "./store-file.ts";
import { toughContent } from "./testing/tough-content.ts";
import { connectTransfer } from "./transfer-client.ts";
import { startTransferServer } from "./transfer-server.ts";
import { createTransferToken } from "./token.ts";
import type { IncomingFile, JsonValue, TransferConnection, TransferServer, TransferTarget } from "./transfer-types.ts";

let n1: Identity;
let n2: Identity;
let n3: Identity;
let stranger: Identity;
let coordinator: Identity;
let directory: string;
let server: TransferServer;
const incidents: string[] = [];
const connections: TransferConnection[] = [];
const token = createTransferToken();

beforeAll(async () => {
  const authority = await createAuthority("lab");
  [n1, n2, n3] = await Promise.all([
    issueIdentity(authority, { role: "agent", name: "n1" }),
    issueIdentity(authority, { role: "agent", name: "n2" }),
    issueIdentity(authority, { role: "agent", name: "n3" }),
  ]);
  coordinator = await issueIdentity(authority, { role: "coordinator", name: "n1" });
  stranger = await issueIdentity(await createAuthority("lab"), { role: "agent", name: "n1" });
});

/** Longer than any handshake takes on a busy machine. */
const HANDSHAKE_DEADLINE_MS = 15_000;

function serve(handshakeDeadlineMs: number): Promise<TransferServer> {
  return startTransferServer({
    identity: n2,
    address: "127.0.0.1:0",
    handshakeDeadlineMs,
    silenceLimitMs: 1000,
    connectionLimit: 4,
    onIncident: (message) => incidents.push(message),
  });
}

beforeEach(async () => {
  incidents.length = 0;
  directory = await mkdtemp(join(tmpdir(), "page-stream-"));
  server = await serve(HANDSHAKE_DEADLINE_MS);
});

afterEach(async () => {
  await Promise.all(connections.splice(0).map((connection) => connection.close()));
  await server.close();
  await rm(directory, { recursive: true });
});

function authorise(receive: (file: IncomingFile) => Promise<JsonValue> | Promise<void>) {
  return server.authorise({ token, migrationId: "m1", peerName: "n1", receive });
}

async function dial(changes: Partial<TransferTarget> = {}): Promise<TransferConnection> {
  const connection = await connectTransfer({
    identity: n1,
    addresses: [`127.0.0.1:${server.port}`],
    peerName: "n2",
    token,
    migrationId: "m1",
    silenceLimitMs: 1000,
    ...changes,
  });
  connections.push(connection);
  return connection;
}

async function sha(content: Readable): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of content) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

const shaOf = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

async function reasonOf(action: Promise<unknown>): Promise<string> {
  try {
    await action;
  } catch (error) {
    return error instanceof DrayError ? error.reason : `not ours: ${error}`;
  }
  return "accepted";
}

describe("content", () => {
  test("a file, a stream in odd pieces and an empty file arrive as they were, with name, metadata and reply", async () => {
    const seen: object[] = [];
    authorise(async ({ kind, name, metadata, sizeBytes, content }) => {
      seen.push({ kind, name, metadata, sizeBytes });
      return { sha: await sha(content) };
    });
    const big = randomBytes(3_000_001);
    const path = join(directory, "big");
    await writeFile(path, big);
    const pieces = [1, 16_384, 70_000, 3, 1_100_000, 1].map((size) => randomBytes(size));
    const connection = await dial();
    const [file, tail, stream, empty] = await Promise.all([
      connection.send({ kind: "image", name: "big", metadata: { mode: 384 }, sizeBytes: big.length }, { path }),
      connection.send({ kind: "image", name: "tail" }, { path, startBytes: 2_999_999 }),
      connection.send({ kind: "layer", name: "pieces" }, Readable.from(pieces)),
      connection.send({ kind: "layer", name: "empty" }, Readable.from([])),
    ]);
    expect(file).toEqual({ bytes: big.length, reply: { sha: shaOf(big) } });
    expect(tail).toEqual({ bytes: 2, reply: { sha: shaOf(big.subarray(2_999_999)) } });
    expect(stream).toEqual({ bytes: 1_186_389, reply: { sha: shaOf(Buffer.concat(pieces)) } });
    expect(empty).toEqual({ bytes: 0, reply: { sha: shaOf(Buffer.alloc(0)) } });
    expect(seen).toContainEqual({ kind: "image", name: "big", metadata: { mode: 384 }, sizeBytes: big.length });
    expect(seen).toContainEqual({ kind: "layer", name: "empty", metadata: {}, sizeBytes: undefined });
  });

  test("is stored, synced and counted", async () => {
    const bytes = randomBytes(1_500_000);
    const target = join(directory, "stored");
    const grant = authorise(async ({ content }) => storeFile(content, target, { sync: true }));
    const connection = await dial();
    expect(await connection.send({ kind: "k", name: "n" }, Readable.from([bytes]))).toEqual({
      bytes: 1_500_000,
      reply: 1_500_000,
    });
    expect(await readFile(target)).toEqual(bytes);
    expect(grant.receivedBytes).toBe(1_500_000);
    expect(connection.wireBytes).toBeGreaterThan(1_500_000);
  });

  test("content that compresses arrives as it was, counted as what it is, and takes less of the wire", async () => {
    const pieces = Array.from({ length: 40 }, (_, index) => [randomBytes(50_000), Buffer.alloc(150_000, index)]).flat();
    const bytes = Buffer.concat(pieces);
    const path = join(directory, "mixed");
    await writeFile(path, bytes);
    const target = join(directory, "stored");
    let arrivedWireBytes = 0;
    const grant = authorise(async (file) => {
      const { name, content } = file;
      const reply = await (name === "stored" ? storeFile(content, target, { sync: false }) : sha(content));
      arrivedWireBytes += file.wireBytes;
      return reply;
    });
    const connection = await dial();
    const [stored, hashed] = await Promise.all([
      connection.send({ kind: "k", name: "stored", sizeBytes: bytes.length }, { path }),
      connection.send({ kind: "k", name: "hashed", sizeBytes: bytes.length }, { path }),
    ]);
    expect(stored).toEqual({ bytes: bytes.length, reply: bytes.length });
    expect(hashed).toEqual({ bytes: bytes.length, reply: shaOf(bytes) });
    expect(shaOf(await readFile(target))).toBe(shaOf(bytes));
    expect(grant.receivedBytes).toBe(2 * bytes.length);
    expect(connection.wireBytes).toBeLessThan(bytes.length);
    expect(connection.wireBytes).toBeGreaterThan(bytes.length / 2);
    // But for messages.
    expect(arrivedWireBytes).toBeLessThanOrEqual(connection.wireBytes);
    expect(arrivedWireBytes).toBeGreaterThan(connection.wireBytes * 0.99);
  });

  test("progress is told now and then, and at the end", async () => {
    authorise(async ({ content }) => sha(content));
    const connection = await dial();
    const told: number[] = [];
    const onProgress = (bytes: number) => void told.push(bytes);
    await connection.send({ kind: "k", name: "n" }, Readable.from([Buffer.alloc(20_000_000)]), { onProgress });
    expect(told.at(-1)).toBe(20_000_000);
    expect(told).toEqual([...told].sort((a, b) => a - b));
    expect(told.length).toBeLessThan(100);
  });

  test("more files than places at a time all arrive", async () => {
    authorise(async ({ content }) => sha(content));
    const connection = await dial();
    const files = Array.from({ length: STREAM_LIMIT * 5 }, (_, index) => randomBytes(1000 * index));
    const results = await Promise.all(
      files.map((bytes) => connection.send({ kind: "k", name: "n" }, Readable.from([bytes]))),
    );
    expect(results.map(({ reply }) => reply)).toEqual(files.map(shaOf));
  });

  test("a reader that stands still holds up its own file only, and the sender's memory stays bounded", async () => {
    const opened = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    authorise(async ({ name, content }) => {
      if (name === "slow") {
        opened.resolve();
        await release.promise;
      }
      return sha(content);
    });
    let produced = 0;
    const endless = Readable.from(
      (function* () {
        for (; produced < 32; produced++) yield Buffer.alloc(1024 * 1024, produced);
      })(),
    );
    const connection = await dial();
    const slow = connection.send({ kind: "k", name: "slow" }, endless);
    await opened.promise;
    for (let turn = 0; turn < 8; turn++)
      await connection.send({ kind: "k", name: "fast" }, Readable.from([Buffer.alloc(2_000_000)]));
    expect(produced).toBeLessThan(16);
    release.resolve();
    expect((await slow).bytes).toBe(32 * 1024 * 1024);
  });

  test("a cancelled file does not wait for the bandwidth cap, and what others send goes on", async () => {
    const opened = Promise.withResolvers<void>();
    authorise(async ({ name, content }) => {
      if (name !== "first") return await sha(content);
      opened.resolve();
      return await reasonOf(sha(content));
    });
    // A frame of 256 KiB would wait for two minutes.
    const connection = await dial({ bandwidthLimitBytesPerSecond: 2000 });
    const cancel = new AbortController();
    const first = connection.send({ kind: "k", name: "first" }, Readable.from([randomBytes(2_000_000)]), {
      signal: cancel.signal,
    });
    const second = connection.send({ kind: "k", name: "second" }, Readable.from([Buffer.from("waits behind it")]));
    await opened.promise;
    cancel.abort();
    expect(await reasonOf(first)).toBe("CANCELLED");
    connection.setBandwidthLimit(10_000_000);
    expect((await second).reply).toBe(shaOf(Buffer.from("waits behind it")));
  });

  test("content of which little can be saved takes less of a slow link, and is left as it is on a fast one", async () => {
    authorise(async ({ content }) => sha(content));
    const bytes = toughContent(5_000_000);
    for (const limited of [false, true]) {
      const connection = await dial(limited ? { bandwidthLimitBytesPerSecond: 4_000_000 } : {});
      const { reply } = await connection.send({ kind: "k", name: "n" }, Readable.from([bytes]));
      expect(reply).toBe(shaOf(bytes));
      if (limited) expect(connection.wireBytes).toBeLessThan(0.96 * bytes.length);
      else expect(connection.wireBytes).toBeGreaterThan(bytes.length);
    }
  });

  test("the bandwidth cap holds and can be lifted", async () => {
    authorise(async ({ content }) => sha(content));
    const connection = await dial({ bandwidthLimitBytesPerSecond: 10_000_000 });
    const startedAt = performance.now();
    await connection.send({ kind: "k", name: "n" }, Readable.from([randomBytes(4_000_000)]));
    expect(performance.now() - startedAt).toBeGreaterThan(250);
    connection.setBandwidthLimit(undefined);
    await connection.send({ kind: "k", name: "n" }, Readable.from([Buffer.alloc(4_000_000)]));
  });

  test("a cap that changes while frames wait for their turn loses none of them", async () => {
    authorise(async ({ content }) => sha(content));
    // At this rate the first frame alone would wait for a minute.
    const connection = await dial({ bandwidthLimitBytesPerSecond: 2000 });
    const bytes = randomBytes(1_000_000);
    const sending = connection.send({ kind: "k", name: "n" }, Readable.from([bytes]));
    for (let change = 0; change < 5; change++) {
      await sleep(20);
      connection.setBandwidthLimit(2000 + change);
    }
    connection.setBandwidthLimit(undefined);
    expect((await sending).reply).toBe(shaOf(bytes));
  });

  test("a connection that is closed while a frame waits for its turn fails that file", async () => {
    authorise(async ({ content }) => sha(content));
    const connection = await dial({ bandwidthLimitBytesPerSecond: 2000 });
    const ending = reasonOf(connection.send({ kind: "k", name: "n" }, Readable.from([randomBytes(1_000_000)])));
    await sleep(20);
    await connection.close();
    expect(await ending).toBe("CANCELLED");
  });

  test("unread chunks of a few bytes are joined: their number is bounded as their bytes are", async () => {
    const reading = Promise.withResolvers<void>();
    const chunks: Buffer[] = [];
    authorise(async ({ content }) => {
      await reading.promise;
      for await (const chunk of content) chunks.push(chunk as Buffer);
    });
    const connection = await dial();
    async function* drops(): AsyncGenerator<Buffer> {
      for (let n = 0; n < 3000; n++) {
        yield Buffer.from(`${n} `);
        await new Promise((resolve) => setImmediate(resolve));
      }
      reading.resolve();
    }
    await connection.send({ kind: "k", name: "n" }, Readable.from(drops()));
    expect(Buffer.concat(chunks).toString()).toBe(Array.from({ length: 3000 }, (_, n) => `${n} `).join(""));
    expect(chunks.length).toBeLessThan(100);
  });
});

describe("chunks that are made in the same memory", () => {
  test("arrive as they were when they were made", async () => {
    let arrived = "";
    authorise(async ({ content }) => {
      arrived = await sha(content);
    });
    const connection = await dial();
    const chunk = Buffer.alloc(4096);
    const expected = createHash("sha256");
    async function* made(): AsyncGenerator<Buffer> {
      for (let n = 0; n < 1000; n++) {
        chunk.fill(n & 255, 0, (n * 37) % 4097);
        const part = chunk.subarray(0, (n * 53) % 4097);
        expected.update(part);
        yield part;
      }
    }
    await connection.sendChunks({ kind: "memory", name: "memory" }, made());
    expect(arrived).toBe(expected.digest("hex"));
  });

  test("when their maker fails, the receiver hears why", async () => {
    const heard = Promise.withResolvers<unknown>();
    authorise(async ({ content }) => {
      await sha(content).catch((error: unknown) => {
        heard.resolve(error);
        throw error;
      });
    });
    const connection = await dial();
    async function* made(): AsyncGenerator<Buffer> {
      yield Buffer.alloc(10);
      throw new DrayError("CRIU_DUMP_FAILED", "no");
    }
    expect(await reasonOf(connection.sendChunks({ kind: "memory", name: "memory" }, made()))).toBe("CRIU_DUMP_FAILED");
    expect(await heard.promise).toMatchObject({ reason: "CRIU_DUMP_FAILED", message: "no" });
  });
});

describe("failures", () => {
  test("the receiver's error reaches the sender whole, and other files go on", async () => {
    authorise(async ({ name, content }) => {
      if (name === "bad") throw new DrayError("NO_SPACE", "full", { remedy: "delete", node: "n2" });
      return sha(content);
    });
    const connection = await dial();
    const good = connection.send({ kind: "k", name: "good" }, Readable.from([randomBytes(20_000_000)]));
    const bad = connection.send({ kind: "k", name: "bad" }, Readable.from([randomBytes(30_000_000)]));
    await expect(bad).rejects.toMatchObject({ reason: "NO_SPACE", message: "full", remedy: "delete", node: "n2" });
    expect((await good).bytes).toBe(20_000_000);
  });

  test("a receiver that reads only a part is no success", async () => {
    authorise(async () => "done");
    const connection = await dial();
    expect(await reasonOf(connection.send({ kind: "k", name: "n" }, Readable.from([Buffer.alloc(10)])))).toBe(
      "INTERNAL",
    );
  });

  test("another size than announced is CORRUPT_STREAM on both sides", async () => {
    const heard = Promise.withResolvers<string>();
    authorise(async ({ content }) => {
      heard.resolve(await reasonOf(sha(content)));
    });
    const connection = await dial();
    const sending = connection.send({ kind: "k", name: "n", sizeBytes: 11 }, Readable.from([Buffer.alloc(10)]));
    expect(await reasonOf(sending)).toBe("CORRUPT_STREAM");
    expect(await heard.promise).toBe("CORRUPT_STREAM");
  });

  test("a failing source reaches the receiver", async () => {
    const heard = Promise.withResolvers<string>();
    authorise(async ({ content }) => {
      heard.resolve(await reasonOf(sha(content)));
    });
    const connection = await dial();
    const broken = Readable.from(
      (function* () {
        yield Buffer.alloc(10);
        throw new DrayError("DOCKER_ERROR", "layer vanished");
      })(),
    );
    expect(await reasonOf(connection.send({ kind: "k", name: "n" }, broken))).toBe("DOCKER_ERROR");
    expect(await heard.promise).toBe("DOCKER_ERROR");
  });

  test("a cancelled file ends alone, a cancelled connection ends all", async () => {
    authorise(async ({ content }) => sha(content));
    const whole = new AbortController();
    const one = new AbortController();
    const connection = await dial({ signal: whole.signal });
    const stuck = () => new Readable({ read: () => undefined });
    const first = connection.send({ kind: "k", name: "1" }, stuck(), { signal: one.signal });
    const second = connection.send({ kind: "k", name: "2" }, stuck());
    second.catch(() => undefined);
    one.abort();
    expect(await reasonOf(first)).toBe("CANCELLED");
    expect((await connection.send({ kind: "k", name: "3" }, Readable.from(["x"]))).bytes).toBe(1);
    whole.abort();
    expect(await reasonOf(second)).toBe("CANCELLED");
    expect(await connection.ended).toMatchObject({ reason: "CANCELLED" });
  });

  test("revoking breaks the connection, waits for the receivers and shuts the door", async () => {
    let left = false;
    const entered = Promise.withResolvers<void>();
    const grant = authorise(async ({ content }) => {
      entered.resolve();
      await sha(content).finally(() => {
        left = true;
      });
    });
    const connection = await dial();
    const sending = connection.send({ kind: "k", name: "n" }, new Readable({ read: () => undefined }));
    sending.catch(() => undefined);
    await entered.promise;
    await grant.revoke();
    expect(left).toBe(true);
    expect(await reasonOf(sending)).toBe("PEER_UNAVAILABLE");
    expect(await reasonOf(dial())).toBe("PERMISSION_DENIED");
  });

  test("the same agent comes back after a loss; the newer connection wins", async () => {
    authorise(async ({ content }) => sha(content));
    const first = await dial();
    const second = await dial();
    expect(await first.ended).toMatchObject({ reason: "PEER_UNAVAILABLE" });
    expect((await second.send({ kind: "k", name: "n" }, Readable.from(["x"]))).bytes).toBe(1);
  });

  test("a cut link is noticed on both sides, a quiet one is kept", async () => {
    const sockets: Socket[] = [];
    const relay = createTcpServer((near) => {
      const far = connectTcp(server.port, "127.0.0.1");
      near.pipe(far).pipe(near);
      sockets.push(near, far);
      for (const socket of [near, far]) socket.on("error", () => undefined);
    });
    await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
    const { port } = relay.address() as { port: number };
    const heard = Promise.withResolvers<string>();
    authorise(async ({ content }) => {
      heard.resolve(await reasonOf(sha(content)));
    });
    const connection = await dial({ addresses: [`127.0.0.1:${port}`] });
    const sending = connection.send({ kind: "k", name: "n" }, new Readable({ read: () => undefined }));
    let settled = false;
    sending.catch(() => undefined).finally(() => (settled = true));
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(settled).toBe(false);
    for (const socket of sockets) socket.unpipe().pause();
    expect(await reasonOf(sending)).toBe("PEER_UNAVAILABLE");
    expect(await heard.promise).toBe("PEER_UNAVAILABLE");
    for (const socket of sockets) socket.destroy();
    relay.close();
  });
});

describe("the door", () => {
  beforeEach(() => void authorise(async ({ content }) => sha(content)));

  test("opens for the right agent with the right token only", async () => {
    expect(await reasonOf(dial())).toBe("accepted");
    expect(await reasonOf(dial({ token: createTransferToken() }))).toBe("PERMISSION_DENIED");
    expect(await reasonOf(dial({ migrationId: "m2" }))).toBe("PERMISSION_DENIED");
    expect(await reasonOf(dial({ identity: n3 }))).toBe("PERMISSION_DENIED");
    expect(await reasonOf(dial({ identity: coordinator }))).toBe("PERMISSION_DENIED");
    expect(await reasonOf(dial({ identity: stranger }))).toBe("UNAUTHENTICATED");
    expect(await reasonOf(dial({ peerName: "n3" }))).toBe("PERMISSION_DENIED");
  });

  test("tries the next address, and says what the last one said", async () => {
    const closed = "127.0.0.1:1";
    expect(await reasonOf(dial({ addresses: [closed, `127.0.0.1:${server.port}`] }))).toBe("accepted");
    expect(await reasonOf(dial({ addresses: [closed] }))).toBe("PEER_UNAVAILABLE");
    expect(await reasonOf(dial({ addresses: [] }))).toBe("BAD_REQUEST");
  });

  test("a client without a certificate gets nowhere", async () => {
    const socket = connectTls({
      host: "127.0.0.1",
      port: server.port,
      ca: n1.caPem,
      checkServerIdentity: () => undefined,
    });
    const error = await new Promise<Error>((resolve) => socket.on("error", resolve));
    expect(error.message).toMatch(/certificate required/i);
    await expect.poll(() => incidents).toContain("page connection refused: no valid certificate");
  });

  test("whoever says nothing is shown out", async () => {
    await server.close();
    server = await serve(1000);
    const silentTcp = connectTcp(server.port, "127.0.0.1");
    const silentTls = connectTls({
      host: "127.0.0.1",
      port: server.port,
      ...tlsClientOptions(n1, { role: "agent", name: "n2" }),
    });
    const closed = [silentTcp, silentTls].map(
      (socket) =>
        new Promise((resolve) =>
          socket
            .on("error", () => undefined)
            .on("close", resolve)
            .resume(),
        ),
    );
    await Promise.all(closed);
    await expect.poll(() => incidents).toContain("page connection refused: no Hello");
  });

  test("more connections than the limit are closed at once", async () => {
    const sockets = Array.from({ length: 4 }, () => connectTcp(server.port, "127.0.0.1").on("error", () => undefined));
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
    expect(await reasonOf(dial())).toBe("PEER_UNAVAILABLE");
    expect(incidents).toContain("page connection refused: too many");
    for (const socket of sockets) socket.destroy();
  });

  test.each([
    ["noise", Buffer.from("GET / HTTP/1.1\r\n\r\n"), "bad magic"],
    ["data before the Hello", encodeFrame("data", 1, Buffer.alloc(5)), "data where hello must come"],
    ["a Hello that is no JSON", encodeFrame("hello", 0, Buffer.from("{")), "not JSON"],
  ])("answers %s with an error and closes", async (_what, bytes, message) => {
    const socket = connectTls({
      host: "127.0.0.1",
      port: server.port,
      ...tlsClientOptions(n1, { role: "agent", name: "n2" }),
    });
    socket.write(bytes);
    const answers: string[] = [];
    const decoder = new FrameDecoder();
    for await (const chunk of socket) {
      decoder.push(chunk as Buffer, (frame) => answers.push(decodeMessage("error", frame).message));
    }
    expect(answers.join()).toContain(message);
  });

  /** A sender that was admitted, and does what no honest one would. */
  async function admitted(): Promise<TLSSocket> {
    const socket = connectTls({
      host: "127.0.0.1",
      port: server.port,
      ...tlsClientOptions(n1, { role: "agent", name: "n2" }),
    });
    socket.on("error", () => undefined);
    const versions = [...PROTOCOL_VERSIONS];
    socket.write(encodeMessage("hello", 0, { versions, migrationId: "m1", token, silenceLimitMs: 60_000, lanes: 0 }));
    await new Promise((resolve) => socket.once("readable", resolve));
    return socket;
  }

  test("a data frame without data is refused: any number of them would fit into the window", async () => {
    authorise(async ({ content }) => sha(content));
    const socket = await admitted();
    socket.write(encodeMessage("openFile", 1, { kind: "k", name: "n", metadata: {} }));
    socket.write(encodeFrame("data", 1, Buffer.alloc(0)));
    const answers: string[] = [];
    const decoder = new FrameDecoder();
    for await (const chunk of socket) {
      decoder.push(chunk as Buffer, (frame) => {
        if (frame.type === "error" && frame.streamId === 0) answers.push(decodeMessage("error", frame).message);
      });
    }
    expect(answers.join()).toContain("a data frame without data");
  });

  test("a peer that never reads what it asks for is given up before it fills the memory", {
    timeout: 20_000,
  }, async () => {
    const replyBytes = 256 * 1024;
    let received = 0;
    authorise(async ({ content }) => {
      for await (const _ of content);
      received += 1;
      return "x".repeat(replyBytes);
    });
    const socket = await admitted();
    const limitFiles = (64 * 1024 * 1024) / replyBytes;
    for (let streamId = 1; streamId <= limitFiles && incidents.length === 0; streamId++) {
      socket.write(encodeMessage("openFile", streamId, { kind: "k", name: "n", metadata: {} }));
      socket.write(encodeMessage("closeFile", streamId, { bytes: 0, digest: 0 }));
      await expect.poll(() => received >= streamId || incidents.length > 0, { interval: 1 }).toBe(true);
    }
    expect(incidents).toContain("page connection lost");
    socket.destroy();
  });

  test("a Hello of an earlier version, which says nothing of lanes, is refused by name", async () => {
    const socket = connectTls({
      host: "127.0.0.1",
      port: server.port,
      ...tlsClientOptions(n1, { role: "agent", name: "n2" }),
    });
    const hello = { versions: [6], migrationId: "m1", token, silenceLimitMs: 1000 };
    socket.write(encodeFrame("hello", 0, Buffer.from(JSON.stringify(hello))));
    const reasons: string[] = [];
    const decoder = new FrameDecoder();
    for await (const chunk of socket) {
      decoder.push(chunk as Buffer, (frame) => reasons.push(decodeMessage("refusal", frame).reason));
    }
    expect(reasons).toEqual(["PROTOCOL_MISMATCH"]);
  });

  test("a version that is not spoken here is refused by name", async () => {
    const socket = connectTls({
      host: "127.0.0.1",
      port: server.port,
      ...tlsClientOptions(n1, { role: "agent", name: "n2" }),
    });
    socket.write(
      encodeMessage("hello", 0, { versions: [77], migrationId: "m1", token, silenceLimitMs: 1000, lanes: 0 }),
    );
    const reasons: string[] = [];
    const decoder = new FrameDecoder();
    for await (const chunk of socket) {
      decoder.push(chunk as Buffer, (frame) => reasons.push(decodeMessage("refusal", frame).reason));
    }
    expect(reasons).toEqual(["PROTOCOL_MISMATCH"]);
  });
});
