import { Metadata } from "@grpc/grpc-js";
import { Registry } from "prom-client";
import { afterEach, describe, expect, test } from "vitest";
import { createAuthority, issueIdentity } from "../identity/authority.ts";
import { createLogger } from "../observe/logger.ts";
import { JoinServiceClient, JoinServiceService } from "../gen/drayage/coordinator/v1/join.ts";
import { connect, unary } from "./client.ts";
import { createRpcServer, service } from "./server.ts";

test("x", async () => {
  const ca = await createAuthority("lab");
  const [server, operator] = await Promise.all([
    issueIdentity(ca, { role: "coordinator", name: "c1" }),
    issueIdentity(ca, { role: "operator", name: "alice" }),
  ]);
  const s = createRpcServer({
    identity: server, node: "c1", logger: createLogger({ level: "debug", part: "t", node: "c1" }), registry: new Registry(),
    services: [service(JoinServiceService, { allowedRoles: ["operator"], anyone: ["join"], handlers: {
      join: async () => ({ certificatePem: "x", caPem: "y" }),
      createJoinToken: async (request, context) => ({ token: `${request.node} ${context.peer.name}` }),
    } })],
  });
  const port = await s.bind("127.0.0.1:0");
  const c = await connect({ identity: operator, addresses: [`127.0.0.1:${port}`], expected: { role: "coordinator" } });
  const client = c.client(JoinServiceClient);
  console.log(await unary(client, client.createJoinToken, { node: "n1", ttlSeconds: 0 }, { deadlineMs: 1000 }));
  c.close();
  await s.shutdown(1000);
});
