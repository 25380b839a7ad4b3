/** Real handshakes on the loopback interface. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect, createServer, type ConnectionOptions, type TLSSocket } from "node:tls";
import { afterEach, beforeAll, expect, test } from "vitest";
import { type Authority, createAuthority, issueIdentity } from "./authority.ts";
import { type ExpectedPeer, type Identity, peerOf, tlsClientOptions, tlsServerOptions } from "./identity.ts";
import { tlsFailure } from "./tls-failure.ts";

let lab: Authority;
let agent: Identity;
let coordinator: Identity;
beforeAll(async () => {
  lab = await createAuthority("lab");
  [agent, coordinator] = await Promise.all([
    issueIdentity(lab, { role: "agent", name: "n1" }),
    issueIdentity(lab, { role: "coordinator", name: "c1" }),
  ]);
});

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** What the server made of each connection, and its port. */
async function listen(identity: Identity): Promise<{ port: number; seen: Promise<TLSSocket | Error> }> {
  const server = createServer(tlsServerOptions(identity));
  const seen = new Promise<TLSSocket | Error>((resolve) => {
    server.once("secureConnection", (socket) => {
      socket.on("error", () => {});
      resolve(socket);
    });
    server.once("tlsClientError", resolve);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => server.close());
  return { port: (server.address() as AddressInfo).port, seen };
}

async function dial(port: number, options: ConnectionOptions): Promise<TLSSocket | Error> {
  const socket = connect({ host: "127.0.0.1", port, ...options });
  closers.push(() => socket.destroy());
  return new Promise((resolve) => {
    socket.on("error", resolve);
    socket.once("secureConnect", () => resolve(socket));
  });
}

async function handshake(server: Identity, client: Identity, expected: ExpectedPeer) {
  const { port, seen } = await listen(server);
  return { client: await dial(port, tlsClientOptions(client, expected)), server: await seen };
}

function asPeer(end: TLSSocket | Error) {
  if (end instanceof Error) throw end;
  return peerOf(end);
}

test("members of one cluster know each other", async () => {
  const ends = await handshake(agent, coordinator, { role: "agent", name: "n1" });
  expect(asPeer(ends.client)).toEqual({ cluster: "lab", role: "agent", name: "n1" });
  expect(asPeer(ends.server)).toEqual({ cluster: "lab", role: "coordinator", name: "c1" });
});

test.each([
  [{ role: "coordinator" }, /is agent n1, not a coordinator/],
  [{ role: "agent", name: "n2" }, /is agent n1, not n2/],
] as const)("a server that is not %j is left", async (expected, message) => {
  const { client } = await handshake(agent, coordinator, expected);
  expect(client).toMatchObject({
    name: "DrayError",
    reason: "PERMISSION_DENIED",
    message: expect.stringMatching(message),
  });
});

test("a server of another CA is left, though it claims the same names", async () => {
  const impostor = await issueIdentity(await createAuthority("lab"), { role: "agent", name: "n1" });
  const { client } = await handshake(impostor, coordinator, { role: "agent" });
  expect(tlsFailure(client as Error)).toMatchObject({
    reason: "UNAUTHENTICATED",
    message: expect.stringMatching(/another CA/),
  });
});

test("a client of another CA does not get in", async () => {
  const impostor = await issueIdentity(await createAuthority("lab"), { role: "coordinator", name: "c1" });
  const { server } = await handshake(agent, { ...impostor, caPem: lab.caPem }, { role: "agent" });
  expect(server).toBeInstanceOf(Error);
});

test("a client without a certificate does not get in", async () => {
  const { port, seen } = await listen(agent);
  const { cert: _cert, key: _key, ...bare } = tlsClientOptions(coordinator, { role: "agent" });
  const client = await dial(port, bare);
  const refusal = client instanceof Error ? client : ((await once(client, "error"))[0] as Error);
  expect(tlsFailure(refusal)).toMatchObject({
    reason: "UNAUTHENTICATED",
    message: expect.stringMatching(/refuses our certificate/),
  });
  expect(await seen).toBeInstanceOf(Error);
});

test("a certificate of another cluster is refused by both ends, even from a CA that both trust", async () => {
  const foreign = await issueIdentity({ ...lab, cluster: "other" }, { role: "agent", name: "n1" });
  const left = await handshake(foreign, coordinator, { role: "agent" });
  expect(left.client).toMatchObject({
    reason: "UNAUTHENTICATED",
    message: expect.stringMatching(/cluster other, not lab/),
  });
  const { port, seen } = await listen(coordinator);
  await dial(port, { ...tlsClientOptions(foreign, { role: "coordinator" }), checkServerIdentity: () => undefined });
  const server = await seen;
  expect(() => asPeer(server)).toThrow(expect.objectContaining({ reason: "UNAUTHENTICATED" }));
});

test("an expired certificate is refused by both ends", async () => {
  const past = { nowMs: Date.now() - 9e8, validMs: 1e8 };
  const expired = await issueIdentity(lab, { role: "agent", name: "n1" }, past);
  const left = await handshake(expired, coordinator, { role: "agent" });
  expect(tlsFailure(left.client as Error)).toMatchObject({
    reason: "UNAUTHENTICATED",
    message: expect.stringMatching(/expired/),
  });
  const right = await handshake(coordinator, expired, { role: "coordinator" });
  expect(right.server).toBeInstanceOf(Error);
});
