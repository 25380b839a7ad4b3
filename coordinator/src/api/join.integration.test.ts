import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { JoinServiceClient } from "@drayage/shared/gen/drayage/coordinator/v1/join.ts";
import { createRequest, joinIdentity } from "@drayage/shared/identity/authority.ts";
import { parseToken } from "@drayage/shared/identity/token.ts";
import { type Connection, unary } from "@drayage/shared/rpc/client.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type CoordinatorProcess, LONG_LEASE_S, TestCluster } from "../test-support/cluster.ts";

let cluster: TestCluster;
let signer: CoordinatorProcess;
let other: CoordinatorProcess;
const settings = { deadlineMs: 10_000 };

beforeAll(async () => {
  cluster = await TestCluster.start([], LONG_LEASE_S);
  signer = await cluster.spawnCoordinator("c1", { signs: true });
  other = await cluster.spawnCoordinator("c2");
}, 60_000);

afterAll(async () => {
  await cluster?.stop();
});

async function token(api: Connection, node: string): Promise<string> {
  const client = api.client(JoinServiceClient);
  return (await unary(client, client.createJoinToken, { node, ttlSeconds: 60 }, settings)).token;
}

async function join(api: Connection, secret: string) {
  const client = api.client(JoinServiceClient);
  const { csrPem, keyPem } = await createRequest();
  const { certificatePem, caPem } = await unary(client, client.join, { secret, csrPem }, settings);
  return joinIdentity(caPem, certificatePem, keyPem, "agent");
}

async function reasonOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => "none",
    (thrown: unknown) => (thrown instanceof DrayError ? thrown.reason : String(thrown)),
  );
}

test("a token is good for one node, once", async () => {
  const api = await cluster.connect([signer]);
  const { secret } = parseToken(await token(api, "n9"));
  expect(await reasonOf(join(api, `${secret.startsWith("A") ? "B" : "A"}${secret.slice(1)}`))).toBe("BAD_TOKEN");
  const client = api.client(JoinServiceClient);
  expect(await reasonOf(unary(client, client.join, { secret, csrPem: "nonsense" }, settings))).toBe("BAD_REQUEST");
  expect(await join(api, secret)).toMatchObject({ role: "agent", name: "n9", cluster: "test" });
  expect(await reasonOf(join(api, secret))).toBe("BAD_TOKEN");
});

test("of two who use one token at once, one gets in", async () => {
  const api = await cluster.connect([signer]);
  const { secret } = parseToken(await token(api, "n8"));
  const reasons = await Promise.all([reasonOf(join(api, secret)), reasonOf(join(api, secret))]);
  expect(reasons.sort()).toEqual(["BAD_TOKEN", "none"]);
});

test("a coordinator without the CA's key passes it on", async () => {
  const api = await cluster.connect([other]);
  const { secret } = parseToken(await token(api, "n7"));
  expect((await join(api, secret)).name).toBe("n7");
});

test("a name that no certificate may carry is refused", async () => {
  const api = await cluster.connect([other]);
  expect(await reasonOf(token(api, "../etc"))).toBe("BAD_REQUEST");
});

test("without a coordinator that can sign, the remedy is told", async () => {
  signer.child.kill("SIGTERM");
  await signer.exited;
  const api = await cluster.connect([other]);
  const { secret } = parseToken(await token(api, "n6"));
  expect(await reasonOf(join(api, secret))).toBe("BAD_CONFIG");
});
