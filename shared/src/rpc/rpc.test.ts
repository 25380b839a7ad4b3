/** Real servers and clients on the loopback interface. */
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { setTimeout as delay } from "node:timers/promises";
import { createSecureContext, connect as connectTls } from "node:tls";
import { credentials, makeClientConstructor, Metadata } from "@grpc/grpc-js";
import { service as healthDefinition } from "grpc-health-check";
import { Registry } from "prom-client";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { DrayError } from "../errors/dray-error.ts";
import { Finding } from "../gen/drayage/common/v1/finding.ts";
import { HandshakeServiceClient, NegotiateRequest } from "../gen/drayage/common/v1/handshake.ts";
import {
  ClusterServiceClient,
  ClusterServiceService,
  GetVersionRequest,
  GetVersionResponse,
  WatchEventsRequest,
  WatchEventsResponse,
} from "../gen/drayage/coordinator/v1/cluster.ts";
import { JoinServiceClient, JoinServiceService } from "../gen/drayage/coordinator/v1/join.ts";
import {
  type Authority,
  createAuthority,
  fingerprintOf,
  issueIdentity,
  signRequest,
  createRequest,
} from "../identity/authority.ts";
import { type Identity, makeIdentity, type Role } from "../identity/identity.ts";
import { makeSecret } from "../identity/token.ts";
import { createLogger } from "../observe/logger.ts";
import { type ClientConstructor, type Connection, connect, serverStream, unary } from "./client.ts";
import { requestJoin } from "./join.ts";
import { type CallContext, createRpcServer, type RpcServer, service } from "./server.ts";

const { getVersion, watchEvents } = ClusterServiceService;
const WATCH_ALL = WatchEventsRequest.fromPartial({});
const SECRET = makeSecret();
const SOON = { deadlineMs: 15_000 };

let lab: Authority;
let members: Record<"agent" | "coordinator" | "operator", Identity>;
beforeAll(async () => {
  lab = await createAuthority("lab");
  const issue = (role: Role, name: string) => issueIdentity(lab, { role, name });
  const [agent, coordinator, operator] = await Promise.all([
    issue("agent", "n1"),
    issue("coordinator", "c1"),
    issue("operator", "ann"),
  ]);
  members = { agent, coordinator, operator };
});

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Behaviour {
  readonly version?: (context: CallContext) => Promise<string>;
  readonly events?: (context: CallContext) => AsyncIterable<string>;
  readonly identity?: Identity;
  /** Without it every client needs a certificate at the TLS level. */
  readonly join?: boolean;
}

interface Served {
  readonly server: RpcServer;
  readonly address: string;
  readonly registry: Registry;
  readonly logged: () => string;
}

async function serve(behaviour: Behaviour = {}): Promise<Served> {
  const registry = new Registry();
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const version = behaviour.version ?? (async ({ peer }) => `${peer.role} ${peer.name}`);
  const events = behaviour.events ?? async function* () {};
  const cluster = service(
    { getVersion, watchEvents },
    {
      allowedRoles: ["operator"],
      handlers: {
        getVersion: async (_request, context) => GetVersionResponse.fromPartial({ version: await version(context) }),
        watchEvents: async function* (_request, context) {
          for await (const message of events(context)) yield WatchEventsResponse.fromPartial({ event: { message } });
        },
      },
    },
  );
  const join = service(JoinServiceService, {
    allowedRoles: ["operator"],
    anyone: ["join"],
    handlers: {
      join: async (request) => {
        if (request.secret !== SECRET) throw new DrayError("BAD_TOKEN", "unknown token");
        return {
          certificatePem: await signRequest(lab, request.csrPem, { cluster: "lab", role: "agent", name: "n9" }),
          caPem: lab.caPem,
        };
      },
      createJoinToken: async (request, { peer }) => ({ token: `${request.node} for ${peer.name}` }),
    },
  });
  const server = createRpcServer({
    identity: behaviour.identity ?? members.coordinator,
    node: "c1",
    logger: createLogger({ level: "debug", part: "test", node: "c1", destination }),
    registry,
    services: behaviour.join === true ? [cluster, join] : [cluster],
  });
  const port = await server.bind("127.0.0.1:0");
  closers.push(() => server.shutdown(0));
  return { server, address: `127.0.0.1:${port}`, registry, logged: () => lines.join("") };
}

async function dial(address: string, identity = members.operator): Promise<Connection> {
  const connection = await connect({ identity, addresses: [address], expected: { role: "coordinator" } });
  closers.push(() => connection.close());
  return connection;
}

/** A client that skips handshake and protocol metadata, with whatever certificate. */
function bare<C extends { close(): void }>(
  ClientClass: ClientConstructor<C>,
  address: string,
  identity: Identity | null,
): C {
  const context = createSecureContext({
    ca: lab.caPem,
    ...(identity === null ? {} : { cert: identity.certPem, key: identity.keyPem }),
  });
  const client = new ClientClass(
    address,
    credentials.createFromSecureContext(context, { checkServerIdentity: () => undefined }),
    {
      "grpc.ssl_target_name_override": "any",
    },
  );
  closers.push(() => client.close());
  return client;
}

const version = async (connection: Connection) => {
  const client = connection.client(ClusterServiceClient);
  return (await unary(client, client.getVersion, GetVersionRequest.fromPartial({}), SOON)).version;
};
const refused = (reason: string, message = /./) =>
  expect.objectContaining({ reason, message: expect.stringMatching(message) });

describe("calls", () => {
  test("reach the handler, which knows the caller", async () => {
    const connection = await dial((await serve()).address);
    expect(await version(connection)).toBe("operator ann");
    expect(connection).toMatchObject({ node: "c1", softwareVersion: expect.stringMatching(/^\d/) });
  });

  test("an error arrives as it was thrown, letters of any kind included", async () => {
    const { address } = await serve({
      version: async () => {
        throw new DrayError("NO_SPACE", "kein Platz für n2 – voll", { remedy: "Räume auf, 100 %", node: "n2" });
      },
    });
    await expect(version(await dial(address))).rejects.toMatchObject({
      reason: "NO_SPACE",
      message: "kein Platz für n2 – voll",
      remedy: "Räume auf, 100 %",
      node: "n2",
    });
  });

  test("findings arrive with an error, in their order, as far as they fit beside its message", async () => {
    const findings = Array.from({ length: 300 }, (_, index) =>
      Finding.fromPartial({ code: `code-${index}`, node: "n2", message: `Kein Platz für ${index}.`.padEnd(60, "x") }),
    );
    const message = findings.map((finding) => finding.message).join("\n");
    const { address } = await serve({
      version: async () => {
        throw new DrayError("PREFLIGHT", message, { findings });
      },
    });
    const error = await version(await dial(address)).then(
      () => undefined,
      (thrown: unknown) => (thrown instanceof DrayError ? thrown : undefined),
    );
    expect(error?.message).toBe(message);
    expect(error?.findings.length).toBeGreaterThan(100);
    expect(error?.findings).toEqual(findings.slice(0, error?.findings.length));
  });

  test("an unexpected exception tells the caller nothing, and the log everything", async () => {
    const { address, logged } = await serve({
      version: async () => {
        throw new TypeError("the inner secret");
      },
    });
    await expect(version(await dial(address))).rejects.toMatchObject({
      reason: "INTERNAL",
      message: expect.not.stringContaining("inner"),
      node: "c1",
    });
    expect(logged()).toContain("the inner secret");
    expect(logged()).toContain("rpc.test.ts");
  });

  test("the deadline ends a call on both sides", async () => {
    const ended = Promise.withResolvers<void>();
    const { address } = await serve({ version: (context) => untilAborted(context.signal, ended.resolve) });
    const connection = await dial(address);
    const client = connection.client(ClusterServiceClient);
    // Long enough for the call to reach the handler on a busy machine.
    const call = unary(client, client.getVersion, GetVersionRequest.fromPartial({}), { deadlineMs: 1_000 });
    await expect(call).rejects.toThrow(refused("TIMEOUT"));
    await ended.promise;
  });

  test("the caller's signal ends a call on both sides", async () => {
    const begun = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    const { address } = await serve({
      version: (context) => {
        begun.resolve();
        return untilAborted(context.signal, ended.resolve);
      },
    });
    const connection = await dial(address);
    const client = connection.client(ClusterServiceClient);
    const controller = new AbortController();
    const call = unary(client, client.getVersion, GetVersionRequest.fromPartial({}), {
      ...SOON,
      signal: controller.signal,
    });
    await begun.promise;
    controller.abort();
    await expect(call).rejects.toThrow(refused("CANCELLED"));
    await ended.promise;
  });

  test("are counted by method and status", async () => {
    const { address, registry } = await serve();
    await version(await dial(address));
    const text = await registry.metrics();
    expect(text).toContain(
      'grpc_server_handled_total{grpc_service="drayage.coordinator.v1.ClusterService",grpc_method="GetVersion",grpc_code="OK"} 1',
    );
    expect(text).toContain("grpc_server_handling_seconds_count{");
  });
});

describe("streams", () => {
  const messages = async (connection: Connection, settings = {}) => {
    const client = connection.client(ClusterServiceClient);
    const seen: string[] = [];
    for await (const { event } of serverStream(client, client.watchEvents, WATCH_ALL, { ...SOON, ...settings })) {
      seen.push(event?.message ?? "");
    }
    return seen;
  };

  test("bring everything in order, and end", async () => {
    const words = Array.from({ length: 2_000 }, (_, index) => `${index} ${"x".repeat(500)}`);
    const { address } = await serve({
      events: async function* () {
        yield* words;
      },
    });
    expect(await messages(await dial(address))).toEqual(words);
  });

  test("an error after some messages arrives after them", async () => {
    const { address } = await serve({
      events: async function* () {
        yield "one";
        throw new DrayError("TOO_LATE", "it is over");
      },
    });
    const connection = await dial(address);
    const client = connection.client(ClusterServiceClient);
    const seen: string[] = [];
    const read = async () => {
      for await (const { event } of serverStream(client, client.watchEvents, WATCH_ALL, SOON))
        seen.push(event?.message ?? "");
    };
    await expect(read()).rejects.toThrow(refused("TOO_LATE", /it is over/));
    expect(seen).toEqual(["one"]);
  });

  test("leaving the loop ends the handler", async () => {
    const ended = Promise.withResolvers<void>();
    const { address } = await serve({
      events: async function* (context) {
        try {
          yield "first";
          await untilAborted(context.signal, () => {});
        } finally {
          ended.resolve();
        }
      },
    });
    const connection = await dial(address);
    const client = connection.client(ClusterServiceClient);
    for await (const _ of serverStream(client, client.watchEvents, WATCH_ALL, { deadlineMs: Number.POSITIVE_INFINITY }))
      break;
    await ended.promise;
  });

  test("a slow reader holds the writer back", async () => {
    let written = 0;
    const { address } = await serve({
      events: async function* () {
        for (; written < 10_000; written++) yield "x".repeat(10_000);
      },
    });
    const connection = await dial(address);
    const client = connection.client(ClusterServiceClient);
    for await (const _ of serverStream(client, client.watchEvents, WATCH_ALL, { deadlineMs: 10_000 })) {
      await delay(200);
      break;
    }
    expect(written).toBeLessThan(1_000);
  });
});

describe("who may call", () => {
  test("another role is refused, with the role that is needed", async () => {
    const { address } = await serve();
    await expect(version(await dial(address, members.agent))).rejects.toMatchObject({
      reason: "PERMISSION_DENIED",
      remedy: expect.stringContaining("operator"),
    });
  });

  test("a server that is not the one expected is not spoken to", async () => {
    const { address } = await serve({ identity: members.agent });
    await expect(dial(address)).rejects.toThrow(refused("PERMISSION_DENIED", /is agent n1, not a coordinator/));
    await expect(
      connect({ identity: members.operator, addresses: [address], expected: { role: "agent", name: "n2" } }),
    ).rejects.toThrow(refused("PERMISSION_DENIED", /n1, not n2/));
  });

  test.each([false, true])("a client of another CA does not get in (server open for joining: %s)", async (join) => {
    const { address } = await serve({ join });
    const impostor = await issueIdentity(await createAuthority("lab"), { role: "operator", name: "ann" });
    await expect(dial(address, { ...impostor, caPem: lab.caPem })).rejects.toThrow(refused("UNAUTHENTICATED"));
  });

  test("a server of another CA is named as such", async () => {
    const other = await createAuthority("lab");
    const { address } = await serve({ identity: await issueIdentity(other, { role: "coordinator", name: "c1" }) });
    await expect(dial(address)).rejects.toThrow(refused("UNAUTHENTICATED", /another CA/));
  });

  test.each([false, true])("an expired certificate does not get in (server open for joining: %s)", async (join) => {
    const { address } = await serve({ join });
    const expired = await issueIdentity(
      lab,
      { role: "operator", name: "ann" },
      { nowMs: Date.now() - 9e8, validMs: 1e8 },
    );
    await expect(dial(address, expired)).rejects.toThrow(refused("UNAUTHENTICATED"));
  });

  test("a certificate of another cluster does not get in", async () => {
    const { address } = await serve();
    const foreign = await issueIdentity({ ...lab, cluster: "other" }, { role: "operator", name: "ann" });
    const client = bare(HandshakeServiceClient, address, foreign);
    await expect(
      unary(client, client.negotiate, NegotiateRequest.fromPartial({ supportedVersions: [1] }), SOON),
    ).rejects.toThrow(refused("UNAUTHENTICATED", /cluster other, not lab/));
  });

  test("without a certificate: only joining, and only where it is served", async () => {
    const open = await serve({ join: true });
    const cluster = bare(ClusterServiceClient, open.address, null);
    await expect(unary(cluster, cluster.getVersion, GetVersionRequest.fromPartial({}), SOON)).rejects.toThrow(
      refused("UNAUTHENTICATED"),
    );
    const joining = bare(JoinServiceClient, open.address, null);
    await expect(unary(joining, joining.createJoinToken, { node: "n1", ttlSeconds: 1 }, SOON)).rejects.toThrow(
      refused("UNAUTHENTICATED"),
    );
    await expect(unary(joining, joining.join, { secret: "wrong", csrPem: "" }, SOON)).rejects.toThrow(
      refused("BAD_TOKEN"),
    );
    const shake = bare(HandshakeServiceClient, open.address, null);
    await expect(
      unary(shake, shake.negotiate, NegotiateRequest.fromPartial({ supportedVersions: [1] }), SOON),
    ).rejects.toThrow(refused("UNAUTHENTICATED"));
    const shut = bare(ClusterServiceClient, (await serve()).address, null);
    await expect(unary(shut, shut.getVersion, GetVersionRequest.fromPartial({}), { deadlineMs: 500 })).rejects.toThrow(
      DrayError,
    );
  });

  test("a resumed TLS session does not stand in for a certificate", async () => {
    const { address } = await serve({ join: true });
    const port = Number(address.split(":")[1]);
    const dialTls = (session?: Buffer) => {
      const socket = connectTls({
        host: "127.0.0.1",
        port,
        ca: lab.caPem,
        ALPNProtocols: ["h2"],
        session,
        checkServerIdentity: () => undefined,
      });
      closers.push(() => socket.destroy());
      return socket;
    };
    const [ticket] = (await once(dialTls(), "session")) as [Buffer];
    const socket = dialTls(ticket);
    await once(socket, "secureConnect");
    expect(socket.isSessionReused()).toBe(true);
    const http = connectHttp2("https://any", { createConnection: () => socket });
    const request = http.request({
      ":method": "POST",
      ":path": getVersion.path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    request.end(Buffer.alloc(5));
    const [headers] = (await once(request, "response")) as [Record<string, string>];
    expect(headers).toMatchObject({ "grpc-status": "16", "drayage-reason": "UNAUTHENTICATED" });
    http.destroy();
  });

  test("a newcomer joins by the CA's fingerprint and gets its certificate", async () => {
    const { address } = await serve({ join: true });
    const { csrPem, keyPem } = await createRequest();
    const answer = await requestJoin({
      address,
      csrPem,
      token: { fingerprint: fingerprintOf(lab.caPem), secret: SECRET },
    });
    expect(makeIdentity({ caPem: answer.caPem, certPem: answer.certificatePem, keyPem }, "answer", "agent").name).toBe(
      "n9",
    );
  });

  test("the secret is not said to a coordinator of another CA", async () => {
    const other = await createAuthority("lab");
    const { address, registry } = await serve({
      join: true,
      identity: await issueIdentity(other, { role: "coordinator", name: "c1" }),
    });
    const { csrPem } = await createRequest();
    const join = requestJoin({ address, csrPem, token: { fingerprint: fingerprintOf(lab.caPem), secret: SECRET } });
    await expect(join).rejects.toThrow(refused("UNAUTHENTICATED", /does not belong to the cluster/));
    expect(await registry.metrics()).not.toContain('grpc_method="Join"');
  });
});

describe("protocol", () => {
  test("a call without handshake is refused, and so is a version that the server does not speak", async () => {
    const { address } = await serve();
    const client = bare(ClusterServiceClient, address, members.operator);
    const call = (metadata: Metadata) =>
      new Promise((_, reject) =>
        client.getVersion(GetVersionRequest.fromPartial({}), metadata, (error) => reject(error)),
      );
    await expect(call(new Metadata())).rejects.toThrow(/before a handshake/);
    const metadata = new Metadata();
    metadata.set("drayage-protocol", "99");
    await expect(call(metadata)).rejects.toThrow(/version 99/);
  });

  test("sides without a version in common part at the handshake", async () => {
    const { address } = await serve();
    const client = bare(HandshakeServiceClient, address, members.operator);
    await expect(
      unary(client, client.negotiate, NegotiateRequest.fromPartial({ supportedVersions: [7, 8] }), SOON),
    ).rejects.toThrow(refused("PROTOCOL_MISMATCH", /7, 8/));
  });
});

describe("connections", () => {
  test("addresses are tried in order; the error names all", async () => {
    const { address } = await serve();
    const identity = members.operator;
    const expected = { role: "coordinator" } as const;
    const connection = await connect({ identity, expected, addresses: ["127.0.0.1:1", address] });
    closers.push(() => connection.close());
    expect(connection.address).toBe(address);
    await expect(connect({ identity, expected, addresses: ["127.0.0.1:1", "127.0.0.1:2"] })).rejects.toThrow(
      refused("NO_LEADER", /127\.0\.0\.1:1, 127\.0\.0\.1:2: connection refused/),
    );
    await expect(connect({ identity, expected: { role: "agent" }, addresses: ["127.0.0.1:1"] })).rejects.toThrow(
      refused("AGENT_UNAVAILABLE"),
    );
    await expect(connect({ identity, expected, addresses: [] })).rejects.toThrow(refused("BAD_REQUEST"));
  });

  test("connecting ends with the caller's signal, not with the list of addresses", async () => {
    const { address } = await serve();
    const options = {
      identity: members.operator,
      addresses: [address, address],
      expected: { role: "coordinator" },
    } as const;
    await expect(connect({ ...options, signal: AbortSignal.abort() })).rejects.toThrow(refused("CANCELLED"));
    const reason = new DrayError("STALE_TERM", "another leads");
    await expect(connect({ ...options, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  test("a renewed certificate serves new connections, while old ones live", async () => {
    const { address, server } = await serve();
    const before = await dial(address);
    server.updateIdentity(await issueIdentity(lab, { role: "coordinator", name: "c2" }));
    const after = await connect({
      identity: members.operator,
      addresses: [address],
      expected: { role: "coordinator", name: "c2" },
    });
    closers.push(() => after.close());
    expect(await Promise.all([version(before), version(after)])).toEqual(["operator ann", "operator ann"]);
  });

  test("shutdown lets a call end within the grace, and cancels it after", async () => {
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const slow = await serve({
      version: async () => {
        begun.resolve();
        await gate.promise;
        return "done";
      },
    });
    const call = version(await dial(slow.address));
    await begun.promise;
    const stopped = slow.server.shutdown(5_000);
    gate.resolve();
    expect(await call).toBe("done");
    await stopped;

    const ended = Promise.withResolvers<void>();
    const stuckBegun = Promise.withResolvers<void>();
    const stuck = await serve({
      version: (context) => {
        stuckBegun.resolve();
        return untilAborted(context.signal, ended.resolve);
      },
    });
    const lost = version(await dial(stuck.address));
    const verdict = expect(lost).rejects.toThrow(refused("NO_LEADER"));
    await stuckBegun.promise;
    await stuck.server.shutdown(50);
    await verdict;
    await ended.promise;
  });

  test("health says what is served", async () => {
    const { address, server } = await serve();
    const client = bare(makeClientConstructor(healthDefinition, "Health"), address, members.operator);
    const check = (name: string) =>
      new Promise((resolve, reject) =>
        client["check"]?.({ service: name }, (error: Error | null, answer: { status: string }) =>
          error ? reject(error) : resolve(answer.status),
        ),
      );
    expect(await check("")).toBe("SERVING");
    expect(await check("drayage.coordinator.v1.ClusterService")).toBe("SERVING");
    server.setServing(false);
    expect(await check("")).toBe("NOT_SERVING");
  });
});

function untilAborted(signal: AbortSignal, ended: () => void): Promise<string> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => {
      ended();
      reject(signal.reason);
    });
  });
}
