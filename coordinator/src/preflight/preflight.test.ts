import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { InspectSourceResponse } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { Severity } from "@drayage/shared/gen/drayage/common/v1/finding.ts";
import { expect, it } from "vitest";
import { ContainerGone } from "../cluster/find-container.ts";
import type { ClusterNode } from "../cluster/view.ts";
import type { AgentOrders } from "../orders/agent-orders.ts";
import { parseConstraint } from "../placement/constraint.ts";
import { inventoryRecord, nodeRecord } from "../test-support/records.ts";
import { inspectSource, preflight } from "./preflight.ts";

const node = (name: string): ClusterNode => ({ record: nodeRecord(name), state: "ready", lastSeenMs: null });
const asked: string[] = [];
/** Finds nothing against anything. */
const orders = {
  inspectSource: async () => InspectSourceResponse.fromPartial({ description: {} }),
  checkDestination: async () => {
    asked.push("destination");
    return { findings: [] };
  },
  checkPageRoutes: async () => ({ routes: [] }),
} as unknown as AgentOrders;
const deps = {
  agents: { of: () => orders },
  nodes: () => [node("n1"), node("n2"), node("n3")],
  onRefusal: () => undefined,
};
const request = { container: inventoryRecord({ node: "n1" }), allowFlags: [] };

it("holds a named destination to the constraints, too", async () => {
  const constraints = [parseConstraint("node.name!=n1"), parseConstraint("node.name==n3")];
  expect((await preflight(deps, { ...request, to: "n3", constraints })).destination).toBe("n3");
  asked.length = 0;
  await expect(preflight(deps, { ...request, to: "n2", constraints })).rejects.toMatchObject({
    reason: "NO_PLACEMENT",
    message: "n2 does not meet node.name==n3",
  });
  expect(asked).toEqual([]);
});

it("says why not the others, but for the one where it is", async () => {
  const { architecture } = nodeRecord("n1").host;
  const inspectSource = async () => InspectSourceResponse.fromPartial({ description: { host: { architecture } } });
  const agents = { of: () => ({ ...orders, inspectSource }) as unknown as AgentOrders };
  const constraints = [parseConstraint("node.name!=n2")];
  const { destination, findings } = await preflight({ ...deps, agents }, { ...request, to: "", constraints });
  expect(destination).toBe("n3");
  expect(findings).toMatchObject([
    { code: "not-chosen", severity: Severity.SEVERITY_NOTE, node: "n2", message: expect.stringContaining("n2") },
  ]);
});

it("tells a container that has left its node from one that cannot be looked at", async () => {
  const answers = (reason: "NOT_FOUND" | "DOCKER_UNAVAILABLE") => {
    const refuse = () => Promise.reject(new DrayError(reason, "says the node"));
    return { agents: { of: () => ({ ...orders, inspectSource: refuse }) as unknown as AgentOrders } };
  };
  const container = inventoryRecord({ node: "n1", name: "redis" });
  const gone = await inspectSource(answers("NOT_FOUND"), container, []).catch((thrown: unknown) => thrown);
  expect(gone).toBeInstanceOf(ContainerGone);
  expect(gone).toMatchObject({ node: "n1", message: "redis is not on n1 any more: says the node" });
  await expect(inspectSource(answers("DOCKER_UNAVAILABLE"), container, [])).rejects.toMatchObject({
    message: "says the node",
  });
});
