/** Connections to agents that break: an order must not wait on one for as long as it may take itself. */
import { MigrationServiceService } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { FinishRequest, FinishResponse } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { createAuthority, issueIdentity } from "@drayage/shared/identity/authority.ts";
import { createLogger } from "@drayage/shared/observe/logger.ts";
import { createRegistry } from "@drayage/shared/observe/metrics.ts";
import { createRpcServer, service } from "@drayage/shared/rpc/server.ts";
import { layCable } from "@drayage/shared/rpc/test-support/cable.ts";
import { expect, test, vi } from "vitest";
import { RpcAgents } from "./rpc-agents.ts";

/** Far more than a connection may take: an order that waits for one ends with TIMEOUT. */
const ORDER_MS = 25_000;

test("an order to a node that is cut off is told so, over a connection that broke before as well", {
  timeout: 60_000,
}, async () => {
  const authority = await createAuthority("lab");
  const [agent, coordinator] = await Promise.all([
    issueIdentity(authority, { role: "agent", name: "n1" }),
    issueIdentity(authority, { role: "coordinator", name: "c1" }),
  ]);
  const { finish } = MigrationServiceService;
  const server = createRpcServer({
    identity: agent,
    node: "n1",
    logger: createLogger({ level: "silent", part: "test", node: "n1" }),
    registry: createRegistry("agent"),
    services: [
      service(
        { finish },
        { allowedRoles: ["coordinator"], handlers: { finish: async () => FinishResponse.fromPartial({}) } },
      ),
    ],
  });
  const cable = await layCable(await server.bind("127.0.0.1:0"));
  const agents = new RpcAgents({ identity: coordinator, addressesOf: () => [`127.0.0.1:${cable.port}`] });
  const order = () => agents.of("n1").finish(FinishRequest.fromPartial({}), { deadlineMs: ORDER_MS });
  try {
    await order();
    // As an agent that is started again.
    cable.breakConnections();
    await vi.waitFor(order, { timeout: 10_000 });
    // The end is noticed before the next order: what would be made anew leads nowhere.
    cable.cut();
    cable.breakConnections();
    // The client sees the end on one of its next turns.
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
    await expect(order()).rejects.toMatchObject({ reason: "AGENT_UNAVAILABLE" });
    await expect(order()).rejects.toMatchObject({ reason: "AGENT_UNAVAILABLE" });
  } finally {
    agents.close();
    cable.remove();
    await server.shutdown(0);
  }
});
