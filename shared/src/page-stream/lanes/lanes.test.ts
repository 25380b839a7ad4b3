/** Both ends over real mTLS on the loopback, each with threads of its own. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect as connectTcp, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { Readable } from "node:stream";
import { connect as connectTls } from "node:tls";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { DrayError } from "../../errors/dray-error.ts";
import { createAuthority, issueIdentity } from "../../identity/authority.ts";
import { type Identity, tlsClientOptions } from "../../identity/identity.ts";
import { chainDigest, encodeFrame, type Frame, FrameDecoder } from "../frame.ts";
import { IncomingContent } from "../incoming-file.ts";
import { decodeMessage, encodeMessage, LANE_STREAMS, PROTOCOL_VERSIONS } from "../messages.ts";
import { toughContent } from "../testing/tough-content.ts";
import { createTransferToken } from "../token.ts";
import { connectTransfer } from "../transfer-client.ts";
import { startTransferServer } from "../transfer-server.ts";
import type { IncomingFile, JsonValue, TransferConnection, TransferServer, TransferTarget } from "../transfer-types.ts";
import { type LaneThreads, openLaneThreads } from "./lane-threads.ts";

const LANES = 3;
const token = createTransferToken();
let n1: Identity;
let n2: Identity;
let n3: Identity;
let coordinator: Identity;
let sending: LaneThreads;
let receiving: LaneThreads;
let server: TransferServer;
const incidents: string[] = [];
const warnings: Record<string, unknown>[] = [];
const connections: TransferConnection[] = [];
const relays: { server: Server; sockets: Set<Socket> }[] = [];

const threads = (identity: Identity, count = LANES) =>
  openLaneThreads({
    identity,
    count,
    host: "127.0.0.1",
    firstPort: 0,
    onIncident: (message) => incidents.push(message),
  });

/** Threads start slowly on a busy machine. */
const START_MS = 60_000;

beforeAll(async () => {
  const authority = await createAuthority("lab");
  [n1, n2, n3, coordinator] = await Promise.all([
    issueIdentity(authority, { role: "agent", name: "n1" }),
    issueIdentity(authority, { role: "agent", name: "n2" }),
    issueIdentity(authority, { role: "agent", name: "n3" }),
    issueIdentity(authority, { role: "coordinator", name: "n1" }),
  ]);
  [sending, receiving] = await Promise.all([threads(n1), threads(n2)]);
}, START_MS);

afterAll(() => Promise.all([sending.close(), receiving.close()]));

beforeEach(async () => {
  incidents.length = 0;
  warnings.length = 0;
  server = await serve(receiving);
});

afterEach(async () => {
  await Promise.all(connections.splice(0).map((connection) => connection.close()));
  await server.close();
  for (const relay of relays.splice(0)) {
    for (const socket of relay.sockets) socket.destroy();
    relay.server.close();
  }
});

function serve(lanes: LaneThreads): Promise<TransferServer> {
  return startTransferServer({
    identity: n2,
    address: "127.0.0.1:0",
    lanes,
    onIncident: (message) => incidents.push(message),
  });
}

function authorise(receive: (file: IncomingFile) => Promise<JsonValue> | Promise<void> = digest) {
  return server.authorise({ token, migrationId: "m1", peerName: "n1", receive });
}

async function dial(changes: Partial<TransferTarget> = {}): Promise<TransferConnection> {
  const connection = await connectTransfer({
    identity: n1,
    addresses: [`127.0.0.1:${server.port}`],
    peerName: "n2",
    token,
    migrationId: "m1",
    lanes: sending,
    onIncident: (what, details) => void warnings.push({ what, ...details }),
    ...changes,
  });
  connections.push(connection);
  return connection;
}

/** Gives the memory of what it has read back, as those do who store it. */
async function digest({ content }: IncomingFile): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of content as AsyncIterable<Buffer>) {
    hash.update(chunk);
    if (content instanceof IncomingContent) content.recycle(chunk);
  }
  return hash.digest("hex");
}

const digestOf = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

const stripe = (connection: TransferConnection, source: Readable, signal?: AbortSignal) =>
  connection.send({ kind: "memory", name: "memory" }, source, { striped: true, ...(signal ? { signal } : {}) });

async function reasonOf(action: Promise<unknown>): Promise<string> {
  try {
    await action;
  } catch (error) {
    return error instanceof DrayError ? error.reason : `not ours: ${error}`;
  }
  return "accepted";
}

/** Stands before a lane of the receiver's; `change` may do something to what goes there. */
async function relayTo(port: number, change: (chunk: Buffer) => Buffer = (chunk) => chunk) {
  const sockets = new Set<Socket>();
  const relay = createTcpServer((near) => {
    const far = connectTcp(port, "127.0.0.1");
    for (const socket of [near, far]) sockets.add(socket.on("error", () => undefined));
    near.on("data", (chunk: Buffer) => far.write(change(chunk))).on("close", () => far.destroy());
    far.on("data", (chunk: Buffer) => near.write(chunk)).on("close", () => near.destroy());
  });
  relay.listen(0, "127.0.0.1");
  await once(relay, "listening");
  relays.push({ server: relay, sockets });
  return { port: (relay.address() as { port: number }).port, sockets };
}

/** The receiver's lanes, one of them behind a relay. */
function behind(relay: { port: number }, lane: number): LaneThreads {
  return { ...receiving, ports: receiving.ports.with(lane, relay.port) };
}

/** Content of all kinds: noise, pages of one byte, repetitions, odd lengths. */
const contents = fc
  .array(
    fc.record({ bytes: fc.integer({ min: 1, max: 700_000 }), kind: fc.constantFrom("noise", "uniform", "text") }),
    { maxLength: 6 },
  )
  .map((parts) =>
    parts.map(({ bytes, kind }) =>
      kind === "noise" ? randomBytes(bytes) : Buffer.alloc(bytes, kind === "uniform" ? bytes & 255 : "0123456789 abc"),
    ),
  );

describe("content", () => {
  test("of any size and kind arrives as it was, over any number of lanes", async () => {
    authorise();
    for (const count of [2, 3]) {
      const connection = await dial({ lanes: { ...sending, ports: sending.ports.slice(0, count) } });
      await fc.assert(
        fc.asyncProperty(contents, async (parts) => {
          const { bytes, reply } = await stripe(connection, Readable.from(parts));
          const whole = Buffer.concat(parts);
          expect({ bytes, reply }).toEqual({ bytes: whole.length, reply: digestOf(whole) });
        }),
        { numRuns: 12 },
      );
      await connection.close();
    }
    expect(warnings).toEqual([]);
    expect(incidents).toEqual([]);
  });

  test("of several files at once arrives as it was, beside files that are not striped", async () => {
    const grant = authorise();
    const connection = await dial();
    const files = Array.from({ length: 24 }, (_, index) => randomBytes(index * 70_001));
    const results = await Promise.all(
      files.map((bytes, index) =>
        connection.send({ kind: "k", name: `${index}` }, Readable.from([bytes]), { striped: index % 3 !== 0 }),
      ),
    );
    expect(results.map(({ reply }) => reply)).toEqual(files.map(digestOf));
    const bytes = files.reduce((sum, { length }) => sum + length, 0);
    expect(grant.receivedBytes).toBe(bytes);
    expect(connection.wireBytes).toBeGreaterThan(bytes);
  });

  test("is counted as what it takes of the wire, and made smaller where that pays", async () => {
    authorise();
    const connection = await dial();
    const before = connection.wireBytes;
    await stripe(connection, Readable.from([randomBytes(1_000_000)]));
    const noiseBytes = connection.wireBytes - before;
    await stripe(connection, Readable.from([Buffer.alloc(1_000_000, "text that is the same ")]));
    const textBytes = connection.wireBytes - before - noiseBytes;
    expect(noiseBytes).toBeGreaterThan(1_000_000);
    expect(noiseBytes).toBeLessThan(1_010_000);
    expect(textBytes).toBeLessThan(100_000);
  });

  test("of which little can be saved is made smaller where a cap makes the link slow", async () => {
    authorise();
    const connection = await dial({ bandwidthLimitBytesPerSecond: 4_000_000 });
    const bytes = toughContent(8_000_000);
    expect((await stripe(connection, Readable.from([bytes]))).reply).toEqual(digestOf(bytes));
    expect(connection.wireBytes).toBeLessThan(0.96 * bytes.length);
  });

  test("of a lane that is far ahead waits for the others, and is not lost", async () => {
    authorise();
    const { lanes, main } = await openByHand();
    const streamId = LANE_STREAMS + 1;
    const parts = Array.from({ length: 999 }, () => randomBytes(5000));
    const data = parts.map((part) => encodeFrame("data", streamId, part));
    const frameCrc = (frame: Buffer) => frame.readUInt32BE(12);
    const closing = { bytes: 999 * 5000, digest: data.map(frameCrc).reduce(chainDigest, 0) };
    const frames = [
      encodeMessage("openFile", streamId, { kind: "k", name: "n", metadata: {} }),
      ...data,
      encodeMessage("closeFile", streamId, closing),
    ];
    const ofLane = (lane: number) => Buffer.concat(frames.filter((_, index) => index % 2 === lane));
    // Two hundred frames and more are too many to be let in; when the other lane has caught up, the rest comes.
    lanes[1]?.socket.write(ofLane(1));
    lanes[0]?.socket.write(ofLane(0));
    for await (const frame of main) {
      if (frame.type !== "delivered") continue;
      expect(decodeMessage("delivered", frame)).toEqual({
        bytes: closing.bytes,
        reply: digestOf(Buffer.concat(parts)),
      });
      return;
    }
    expect.unreachable("it was not delivered");
  });

  test("a reader that stands still holds up its own file only, and the sender's memory stays bounded", async () => {
    const opened = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    authorise(async (file) => {
      if (file.name === "memory") {
        opened.resolve();
        await release.promise;
      }
      return digest(file);
    });
    let produced = 0;
    const endless = Readable.from(
      (function* () {
        for (; produced < 32; produced++) yield Buffer.alloc(1024 * 1024, produced);
      })(),
    );
    const connection = await dial();
    const slow = stripe(connection, endless);
    await opened.promise;
    for (let turn = 0; turn < 8; turn++)
      await connection.send({ kind: "k", name: "fast" }, Readable.from([randomBytes(2_000_000)]), { striped: true });
    expect(produced).toBeLessThan(16);
    release.resolve();
    expect((await slow).bytes).toBe(32 * 1024 * 1024);
  });

  test("keeps to the bandwidth cap, which can be lifted", async () => {
    authorise();
    const connection = await dial({ bandwidthLimitBytesPerSecond: 10_000_000 });
    const startedAt = performance.now();
    await Promise.all([
      stripe(connection, Readable.from([randomBytes(2_000_000)])),
      connection.send({ kind: "k", name: "direct" }, Readable.from([randomBytes(2_000_000)])),
    ]);
    expect(performance.now() - startedAt).toBeGreaterThan(250);
    // At this rate the second frame alone would wait for a minute.
    connection.setBandwidthLimit(2000);
    const rest = stripe(connection, Readable.from([randomBytes(1_000_000)]));
    connection.setBandwidthLimit(undefined);
    expect((await rest).bytes).toBe(1_000_000);
  });
});

describe("failures", () => {
  const endless = () => Readable.from(noise());
  async function* noise(): AsyncGenerator<Buffer> {
    for (;;) yield randomBytes(200_000);
  }

  test("a flipped byte in a frame, before it is encrypted, is CORRUPT_STREAM on both sides", async () => {
    const heard = Promise.withResolvers<string>();
    authorise(async ({ content }) => {
      heard.resolve(await reasonOf(content.toArray()));
    });
    // A sender of its own: TLS would notice what a relay changes.
    const { lanes } = await openByHand();
    const file = encodeMessage("openFile", LANE_STREAMS + 1, { kind: "k", name: "n", metadata: {} });
    lanes[0]?.socket.write(file);
    const damaged = encodeMessage("closeFile", LANE_STREAMS + 1, { bytes: 0, digest: 0 });
    damaged.writeUInt8(damaged.readUInt8(20) ^ 1, 20);
    lanes[1]?.socket.write(damaged);
    expect(await heard.promise).toBe("CORRUPT_STREAM");
    const [answer] = (await lanes[1]?.answers.next().then(({ value }) => [value as Frame])) ?? [];
    expect(decodeMessage("error", answer as Frame).reason).toBe("CORRUPT_STREAM");
  });

  test("a byte that is changed on the way breaks the transfer", async () => {
    let passed = 0;
    const relay = await relayTo(receiving.ports[1] as number, (chunk) => {
      passed += chunk.length;
      if (passed > 1_000_000) chunk.writeUInt8(chunk.readUInt8(0) ^ 1, 0);
      return chunk;
    });
    await server.close();
    server = await serve(behind(relay, 1));
    authorise();
    const connection = await dial();
    expect(await reasonOf(stripe(connection, endless()))).toBe("PEER_UNAVAILABLE");
    expect(await connection.ended).toBeInstanceOf(DrayError);
  });

  test("a lane that breaks breaks the transfer on both sides; the sender connects anew", async () => {
    const relay = await relayTo(receiving.ports[2] as number);
    await server.close();
    server = await serve(behind(relay, 2));
    const heard = Promise.withResolvers<string>();
    let files = 0;
    authorise(async (file) => {
      files += 1;
      if (files > 1) return digest(file);
      const reason = await reasonOf(digest(file));
      heard.resolve(reason);
      return reason;
    });
    const connection = await dial();
    let sentBytes = 0;
    const sent = Promise.withResolvers<void>();
    const failing = connection.send({ kind: "k", name: "n" }, endless(), {
      striped: true,
      onProgress: (bytes) => {
        sentBytes = bytes;
        if (sentBytes > 2_000_000) sent.resolve();
      },
    });
    failing.catch(() => undefined);
    await sent.promise;
    for (const socket of relay.sockets) socket.resetAndDestroy();
    expect(await reasonOf(failing)).toBe("PEER_UNAVAILABLE");
    expect(await heard.promise).toBe("PEER_UNAVAILABLE");
    const bytes = randomBytes(3_000_000);
    expect((await stripe(await dial(), Readable.from([bytes]))).reply).toBe(digestOf(bytes));
  });

  test("a cut lane is noticed, a quiet one is kept", async () => {
    const relay = await relayTo(receiving.ports[0] as number);
    await server.close();
    server = await serve(behind(relay, 0));
    authorise();
    const connection = await dial({ silenceLimitMs: 1000 });
    await stripe(connection, Readable.from([randomBytes(1_000_000)]));
    const quiet = stripe(connection, new Readable({ read: () => undefined }));
    quiet.catch(() => undefined);
    // More than the silence limit, told by pings on the way.
    for (let pings = 0; pings < 12; pings++)
      await Promise.race([...relay.sockets].map((socket) => once(socket, "data")));
    expect((await stripe(connection, Readable.from([randomBytes(1_000_000)]))).bytes).toBe(1_000_000);
    for (const socket of relay.sockets) socket.removeAllListeners("data").pause();
    expect(await reasonOf(quiet)).toBe("PEER_UNAVAILABLE");
  });

  test("a cancelled file ends alone, a cancelled connection ends all, and so do close and revoke", async () => {
    const grant = authorise();
    const one = new AbortController();
    const whole = new AbortController();
    const connection = await dial({ signal: whole.signal });
    const first = stripe(connection, endless(), one.signal);
    const second = stripe(connection, endless());
    second.catch(() => undefined);
    one.abort();
    expect(await reasonOf(first)).toBe("CANCELLED");
    expect((await stripe(connection, Readable.from(["x"]))).bytes).toBe(1);
    whole.abort();
    expect(await reasonOf(second)).toBe("CANCELLED");
    const closing = await dial();
    const third = stripe(closing, endless());
    third.catch(() => undefined);
    await closing.close();
    expect(await reasonOf(third)).toBe("CANCELLED");
    expect(await closing.ended).toBeUndefined();
    const revoked = await dial();
    const fourth = stripe(revoked, endless());
    fourth.catch(() => undefined);
    await grant.revoke();
    expect(await reasonOf(fourth)).toBe("PEER_UNAVAILABLE");
  });

  test.each([
    ["close", (connection: TransferConnection) => connection.close()],
    ["a signal", (_connection: TransferConnection, whole: AbortController) => whole.abort()],
    ["revoke", (_connection: TransferConnection, _whole: AbortController, revoke: () => Promise<void>) => revoke()],
  ])("%s leaves no lane behind", async (_what, end) => {
    const relay = await relayTo(receiving.ports[1] as number);
    await server.close();
    server = await serve(behind(relay, 1));
    const grant = authorise();
    const whole = new AbortController();
    const connection = await dial({ signal: whole.signal });
    await stripe(connection, Readable.from([randomBytes(1_000_000)]));
    const closed = [...relay.sockets].map((socket) => once(socket, "close"));
    expect(closed).toHaveLength(2);
    await end(connection, whole, () => grant.revoke());
    await Promise.all(closed);
    await connection.ended;
  });

  test("a failing source and a failing receiver reach each other", async () => {
    const heard = Promise.withResolvers<string>();
    authorise(async (file) => {
      if (file.name === "full") throw new DrayError("NO_SPACE", "full");
      heard.resolve(await reasonOf(digest(file)));
    });
    const connection = await dial();
    async function* broken(): AsyncGenerator<Buffer> {
      yield randomBytes(300_000);
      throw new DrayError("CRIU_DUMP_FAILED", "no");
    }
    expect(await reasonOf(connection.sendChunks({ kind: "k", name: "n" }, broken(), { striped: true }))).toBe(
      "CRIU_DUMP_FAILED",
    );
    expect(await heard.promise).toBe("CRIU_DUMP_FAILED");
    const full = connection.send({ kind: "k", name: "full" }, Readable.from([randomBytes(9_000_000)]), {
      striped: true,
    });
    expect(await reasonOf(full)).toBe("NO_SPACE");
  });

  test("a thread that dies breaks the transfers on it, and later ones do without lanes", async () => {
    const mortal = await threads(n1, 2);
    authorise();
    const connection = await dial({ lanes: mortal });
    const failing = stripe(connection, endless());
    failing.catch(() => undefined);
    await mortal.close();
    expect(await connection.ended).toMatchObject({ reason: "INTERNAL" });
    expect(await reasonOf(failing)).toBe("INTERNAL");
    expect(mortal.ports).toEqual([]);
    const next = await dial({ lanes: mortal });
    expect((await stripe(next, Readable.from([randomBytes(1_000_000)]))).bytes).toBe(1_000_000);
    expect(warnings).toEqual([]);
  });
});

describe("lanes that cannot be had", () => {
  test("are done without, and the warning names port and remedy", async () => {
    const closed = await relayTo(1);
    relays[0]?.server.close();
    await server.close();
    server = await serve(behind(closed, 1));
    authorise();
    const connection = await dial();
    const bytes = randomBytes(1_000_000);
    expect((await stripe(connection, Readable.from([bytes]))).reply).toBe(digestOf(bytes));
    expect(warnings).toMatchObject([{ what: expect.stringContaining("one connection"), peer: "n2" }]);
    expect(warnings[0]?.["remedy"]).toContain(`TCP port ${closed.port} of n2`);
  });

  test("because nobody answers there, are waited for until the deadline, or the signal", async () => {
    const silent = createTcpServer();
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as { port: number };
    const sockets = new Set<Socket>();
    silent.on("connection", (socket) => sockets.add(socket.on("error", () => undefined)));
    relays.push({ server: silent, sockets });
    await server.close();
    server = await serve(behind({ port }, 0));
    authorise();
    const whole = new AbortController();
    const cancelled = dial({ signal: whole.signal });
    await once(silent, "connection");
    whole.abort();
    expect(await reasonOf(cancelled)).toBe("CANCELLED");
    expect(warnings).toEqual([]);
    const connection = await dial({ connectDeadlineMs: 3000 });
    expect(warnings).toMatchObject([{ message: `TCP port ${port} of n2: not open within 3000 ms` }]);
    expect((await stripe(connection, Readable.from([randomBytes(1_000_000)]))).bytes).toBe(1_000_000);
  });

  test("because one end has none, are no reason for a warning", async () => {
    authorise();
    const without = await dial({ lanes: undefined });
    expect((await stripe(without, Readable.from([randomBytes(1_000_000)]))).bytes).toBe(1_000_000);
    await server.close();
    server = await startTransferServer({ identity: n2, address: "127.0.0.1:0" });
    authorise();
    const connection = await dial();
    expect((await stripe(connection, Readable.from([randomBytes(1_000_000)]))).bytes).toBe(1_000_000);
    expect(warnings).toEqual([]);
  });
});

interface LaneByHand {
  readonly socket: ReturnType<typeof connectTls>;
  readonly answers: AsyncGenerator<Frame>;
}

/** What a stranger would have to send to become a lane. */
function knock(lane: number, secret: string, identity: Identity): LaneByHand {
  const socket = connectTls({
    host: "127.0.0.1",
    port: receiving.ports[lane] as number,
    ...tlsClientOptions(identity, { role: "agent", name: "n2" }),
  });
  socket.on("error", () => undefined);
  socket.write(encodeMessage("laneHello", 0, { lane, secret }));
  return { socket, answers: framesOf(socket) };
}

async function* framesOf(socket: Readable): AsyncGenerator<Frame> {
  const decoder = new FrameDecoder();
  for await (const chunk of socket) {
    const frames: Frame[] = [];
    decoder.push(chunk as Buffer, (frame) => frames.push(frame));
    yield* frames.filter(({ type }) => type !== "ping");
  }
}

/** A transfer whose Welcome has come, with the secret that it had. */
async function welcomed(): Promise<{ ports: number[]; secret: string; main: AsyncGenerator<Frame> }> {
  const socket = connectTls({
    host: "127.0.0.1",
    port: server.port,
    ...tlsClientOptions(n1, { role: "agent", name: "n2" }),
  });
  relays.push({ server: createTcpServer(), sockets: new Set([socket]) });
  socket.on("error", () => undefined);
  const hello = { versions: [...PROTOCOL_VERSIONS], migrationId: "m1", token, silenceLimitMs: 60_000, lanes: 2 };
  socket.write(encodeMessage("hello", 0, hello));
  const main = framesOf(socket);
  const { value } = await main.next();
  return { ...decodeMessage("welcome", value as Frame).lanes, main };
}

async function openByHand(): Promise<{ lanes: LaneByHand[]; main: AsyncGenerator<Frame> }> {
  const { secret, main } = await welcomed();
  const lanes = [0, 1].map((lane) => knock(lane, secret, n1));
  for (const { answers } of lanes) decodeMessage("laneWelcome", (await answers.next()).value as Frame);
  return { lanes, main };
}

describe("the door of a lane", () => {
  async function answerTo(lane: number, secret: string, identity: Identity): Promise<string> {
    const { value } = await knock(lane, secret, identity).answers.next();
    const frame = value as Frame;
    return frame.type === "refusal" ? decodeMessage("refusal", frame).reason : frame.type;
  }

  test("opens for the right agent with the right secret only, once", async () => {
    authorise();
    const { ports, secret } = await welcomed();
    expect(ports).toEqual(receiving.ports.slice(0, 2));
    expect(await answerTo(0, createTransferToken(), n1)).toBe("PERMISSION_DENIED");
    expect(await answerTo(0, token, n1)).toBe("PERMISSION_DENIED");
    expect(await answerTo(0, secret, n3)).toBe("PERMISSION_DENIED");
    expect(await answerTo(0, secret, coordinator)).toBe("PERMISSION_DENIED");
    expect(await answerTo(2, secret, n1)).toBe("PERMISSION_DENIED");
    expect(await answerTo(0, secret, n1)).toBe("laneWelcome");
    expect(await answerTo(0, secret, n1)).toBe("PERMISSION_DENIED");
    // Told by the threads on a way of its own.
    await expect.poll(() => incidents.filter((message) => message === "page connection refused").length).toBe(6);
  });

  test("is shut for a secret whose connection has ended", async () => {
    const grant = authorise();
    const { secret } = await welcomed();
    await grant.revoke();
    expect(await answerTo(0, secret, n1)).toBe("PERMISSION_DENIED");
  });
});
