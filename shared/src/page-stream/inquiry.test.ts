/** Asked over real mTLS on the loopback. */
import { createServer, type AddressInfo, type Server } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { afterEach, beforeAll, expect, test } from "vitest";
import { createAuthority, issueIdentity } from "../identity/authority.ts";
import { type Identity, tlsServerOptions } from "../identity/identity.ts";
import { DrayError } from "../errors/dray-error.ts";
import { encodeFrame, FrameDecoder } from "./frame.ts";
import { inquire } from "./inquiry.ts";
import { PROTOCOL_VERSIONS } from "./messages.ts";
import { startTransferServer } from "./transfer-server.ts";

let n1: Identity;
let n2: Identity;
let stranger: Identity;
let coordinator: Identity;
/** Undone in any case. */
const undo: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const authority = await createAuthority("lab");
  [n1, n2, coordinator] = await Promise.all([
    issueIdentity(authority, { role: "agent", name: "n1" }),
    issueIdentity(authority, { role: "agent", name: "n2" }),
    issueIdentity(authority, { role: "coordinator", name: "n1" }),
  ]);
  stranger = await issueIdentity(await createAuthority("lab"), { role: "agent", name: "n1" });
});

afterEach(async () => {
  for (const step of undo.splice(0)) await step();
});

/** Longer than any handshake takes on a busy machine. */
const DEADLINE_MS = 15_000;

async function pageServer(): Promise<{ address: string; incidents: string[] }> {
  const incidents: string[] = [];
  const onIncident = (message: string) => incidents.push(message);
  const server = await startTransferServer({ identity: n2, address: "127.0.0.1:0", onIncident });
  undo.push(() => server.close());
  return { address: `127.0.0.1:${server.port}`, incidents };
}

/** Listens until the end of the test; its connections go with it. */
async function listening(server: Server): Promise<string> {
  const sockets = new Set<{ destroy(): void }>();
  server.on("connection", (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  undo.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function failure(address: string, change: object = {}): Promise<DrayError> {
  try {
    await inquire({ identity: n1, peerName: "n2", address, deadlineMs: DEADLINE_MS, ...change });
  } catch (thrown) {
    if (thrown instanceof DrayError) return thrown;
    throw thrown;
  }
  throw new Error("it was answered");
}

test("a page server says which version would be spoken, without a token, and reports nothing", async () => {
  const { address, incidents } = await pageServer();
  expect(await inquire({ identity: n1, peerName: "n2", address, deadlineMs: DEADLINE_MS })).toBe(
    Math.max(...PROTOCOL_VERSIONS),
  );
  expect(incidents).toEqual([]);
});

test("other certificates, other roles and other agents are told apart from a missing route", async () => {
  const { address } = await pageServer();
  expect((await failure(address, { identity: stranger })).reason).toBe("UNAUTHENTICATED");
  expect((await failure(address, { identity: coordinator })).reason).toBe("PERMISSION_DENIED");
  expect((await failure(address, { peerName: "n3" })).message).toMatch(/n3/);
});

test("nobody listens", async () => {
  const address = await listening(createServer());
  await undo.pop()?.();
  expect(await failure(address)).toMatchObject({
    reason: "PEER_UNAVAILABLE",
    message: expect.stringContaining("ECONNREFUSED"),
  });
});

test("a deadline says how far it came", async () => {
  const silent = await listening(createServer());
  const { reason, message } = await failure(silent, { deadlineMs: 100 });
  expect([reason, message]).toEqual(["TIMEOUT", "a TCP connection, but no end of the TLS handshake within 100 ms"]);
  const mute = await listening(createTlsServer(tlsServerOptions(n2)));
  expect((await failure(mute, { deadlineMs: 1500 })).message).toBe("a TLS connection, but no answer within 1500 ms");
});

test("a server of another version is named as that", async () => {
  const answer = Buffer.from(JSON.stringify({ reason: "PROTOCOL_MISMATCH", message: "3 here", remedy: "r", node: "" }));
  const server = createTlsServer(tlsServerOptions(n2), (socket) => {
    const decoder = new FrameDecoder((bytes) => Buffer.alloc(bytes));
    socket.on("data", (chunk) => decoder.push(chunk, () => socket.end(encodeFrame("refusal", 0, answer))));
  });
  expect(await failure(await listening(server))).toMatchObject({ reason: "PROTOCOL_MISMATCH", message: "3 here" });
});

test("cancelled before and meanwhile", async () => {
  const silent = await listening(createServer());
  const meanwhile = new AbortController();
  const waiting = failure(silent, { signal: meanwhile.signal });
  meanwhile.abort();
  expect((await waiting).reason).toBe("CANCELLED");
  expect((await failure(silent, { signal: AbortSignal.abort() })).reason).toBe("CANCELLED");
});
