import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { describe, expect, test } from "vitest";
import type { ClusterNode, NodeState } from "../cluster/view.ts";
import { nodeRecord } from "../test-support/records.ts";
import { holds, parseConstraint, showConstraint } from "./constraint.ts";
import type { PlacementTask } from "./filters.ts";
import { place } from "./place.ts";

const GIB = 2 ** 30;
const node = (name: string, change: Partial<ClusterNode["record"]> = {}, state: NodeState = "ready"): ClusterNode => ({
  record: { ...nodeRecord(name), ...change },
  state,
  lastSeenMs: state === "down" ? 1 : null,
});
const task: PlacementTask = { source: "n1", architecture: "x86_64", memoryBytes: GIB, constraints: [] };
const names = (nodes: readonly ClusterNode[]) => nodes.map((each) => each.record.name);

describe("place", () => {
  test("spreads: fewest containers, then most memory, then name", () => {
    const nodes = [
      node("n1", { runningContainers: 0 }),
      node("n2", { runningContainers: 3 }),
      node("n3", { runningContainers: 1, memoryAvailableBytes: 2 * GIB }),
      node("n5", { runningContainers: 1, memoryAvailableBytes: 4 * GIB }),
      node("n4", { runningContainers: 1, memoryAvailableBytes: 4 * GIB }),
    ];
    expect(names(place(task, nodes).candidates)).toEqual(["n4", "n5", "n3", "n2"]);
  });

  test("explains each refusal by the first filter that refuses", () => {
    const { candidates, refusals } = place({ ...task, constraints: [parseConstraint("node.labels.zone==b")] }, [
      node("n1"),
      node("n2", {}, "down"),
      node("n3", { problems: ["CRIU is missing"] }, "unhealthy"),
      node("n4", { host: { ...nodeRecord("n4").host, architecture: "aarch64" } }),
      node("n5", { labels: { zone: "a" } }),
      node("n6", { labels: { zone: "b" }, memoryAvailableBytes: GIB / 2 }),
      node("n7", { labels: { zone: "b" } }),
    ]);
    expect(names(candidates)).toEqual(["n7"]);
    expect(refusals.map((refusal) => [refusal.node, refusal.filter])).toEqual([
      ["n1", "source"],
      ["n2", "ready"],
      ["n3", "ready"],
      ["n4", "architecture"],
      ["n5", "constraint"],
      ["n6", "memory"],
    ]);
    expect(refusals.every((refusal) => refusal.why.length > 0)).toBe(true);
    expect(refusals[5]?.why).toBe("512 MiB of memory are available, 1024 MiB are needed");
  });
});

describe("constraints", () => {
  test("are read and shown", () => {
    for (const text of ["node.labels.zone==b", "node.labels.a.b/c-d!=x y", "node.name!=n1"]) {
      expect(showConstraint(parseConstraint(` ${text} `))).toBe(text);
    }
  });

  test("a missing label is unequal", () => {
    expect(holds(parseConstraint("node.labels.zone!=b"), nodeRecord("n1"))).toBe(true);
    expect(holds(parseConstraint("node.labels.zone==b"), nodeRecord("n1"))).toBe(false);
  });

  test.each(["zone==b", "node.labels.zone=b", "node.labels.==b", ""])("%j is refused", (text) => {
    expect(() => parseConstraint(text)).toThrow(DrayError);
  });
});
