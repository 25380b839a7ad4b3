import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { expect, it } from "vitest";
import { inventoryRecord, nodeRecord } from "../test-support/records.ts";
import { ContainerGone, type FindView, withContainer } from "./find-container.ts";

/** A view in which the container appears with the reading of that number; a node was lost until then. */
function viewFrom(
  reading: number,
  options: { readonly lost: boolean; readonly down?: readonly string[] },
): FindView & { readings: number } {
  return {
    readings: 0,
    async refresh() {
      this.readings++;
    },
    resolve() {
      if (this.readings < reading) throw new DrayError("NOT_FOUND", "no such container");
      return inventoryRecord();
    },
    hasJustLost: () => options.lost,
    nodes: () => (options.down ?? []).map((name) => ({ record: nodeRecord(name), state: "down", lastSeenMs: 1 })),
  };
}

const signal = new AbortController().signal;
const itself = async <T>(container: T) => container;

it("looks at what etcd has now before it answers", async () => {
  const view = viewFrom(1, { lost: false });
  expect(await withContainer(view, "redis", signal, itself)).toEqual(inventoryRecord());
  expect(view.readings).toBe(1);
});

it("waits for a node that may be back in a moment", async () => {
  const view = viewFrom(2, { lost: true });
  expect(await withContainer(view, "redis", signal, itself)).toEqual(inventoryRecord());
  expect(view.readings).toBe(2);
});

it("says at once that there is none while all nodes are where they were", async () => {
  const view = viewFrom(3, { lost: false });
  await expect(withContainer(view, "redis", signal, itself)).rejects.toMatchObject({ reason: "NOT_FOUND" });
  expect(view.readings).toBe(1);
});

it("says that it does not know what is on nodes that are down", async () => {
  const view = viewFrom(3, { lost: false, down: ["n2"] });
  await expect(withContainer(view, "redis", signal, itself)).rejects.toMatchObject({
    reason: "NOT_FOUND",
    message: "no such container; what is on n2, which is down, is not known",
    remedy: expect.stringContaining("systemctl start drayage-agent"),
  });
});

it("reads the view again when the node has no container of that id any more", async () => {
  const view = viewFrom(1, { lost: false });
  const gone = new ContainerGone(inventoryRecord(), new DrayError("NOT_FOUND", "no such container"));
  const use = async () => {
    if (view.readings < 3) throw gone;
    return "found";
  };
  expect(await withContainer(view, "redis", signal, use)).toBe("found");
});

it("waits for a container that has left one node, and that the other has not told of yet", async () => {
  const view = viewFrom(1, { lost: false });
  const { resolve } = view;
  view.resolve = (text) => {
    if (view.readings === 2) throw new DrayError("NOT_FOUND", "no such container");
    return resolve.call(view, text);
  };
  const gone = new ContainerGone(inventoryRecord(), new DrayError("NOT_FOUND", "no such container"));
  const use = async () => {
    if (view.readings === 1) throw gone;
    return "found";
  };
  expect(await withContainer(view, "redis", signal, use)).toBe("found");
  expect(view.readings).toBe(3);
});

it("passes on what else goes wrong with the container at once", async () => {
  const view = viewFrom(1, { lost: false });
  const use = () => Promise.reject(new DrayError("NOT_FOUND", 'no node "n9"'));
  await expect(withContainer(view, "redis", signal, use)).rejects.toMatchObject({ message: 'no node "n9"' });
  expect(view.readings).toBe(1);
});
