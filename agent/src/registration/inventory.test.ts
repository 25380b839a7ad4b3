import { expect, it } from "vitest";
import type { ContainerSummary } from "../docker/types.ts";
import { inventoryChanges, inventoryRecord } from "./inventory.ts";

const summary: ContainerSummary = {
  Id: "a".repeat(64),
  Names: ["/redis"],
  Image: "redis",
  ImageID: "sha256:1",
  State: "running",
  Labels: {},
  Ports: [],
  NetworkSettings: { Networks: { dray: { IPAddress: "10.0.0.9" }, none: { IPAddress: "" } } },
};

it("shows a container as the cluster sees it", () => {
  expect(inventoryRecord("n1", "u", summary, "runc")).toEqual({
    uuid: "u",
    dockerId: "a".repeat(64),
    name: "redis",
    node: "n1",
    image: "redis",
    state: "running",
    runtime: "runc",
    addresses: { dray: "10.0.0.9" },
  });
});

it("writes only what changed and removes what is gone", () => {
  const same = inventoryRecord("n1", "u", summary, "runc");
  const changed = { ...same, dockerId: "b", state: "exited" };
  const published = new Map([
    [same.dockerId, JSON.stringify(same)],
    ["b", JSON.stringify({ ...changed, state: "running" })],
    ["c", "{}"],
  ]);
  expect(inventoryChanges(published, [same, changed])).toEqual({ put: [changed], remove: ["c"] });
  expect(inventoryChanges(new Map(), [same]).put).toEqual([same]);
});
