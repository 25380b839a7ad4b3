import type { Change, EtcdPort, KeyValue, Snapshot, WatchStep } from "@drayage/shared/etcd/etcd-port.ts";
import { createLogger } from "@drayage/shared/observe/logger.ts";
import { expect, it } from "vitest";
import { z } from "zod";
import { Mirror } from "./mirror.ts";

const logger = createLogger({ level: "silent", part: "coordinator", node: "c1" });
const signal = new AbortController().signal;

function put(key: string, modRevision: number): KeyValue {
  return { key, value: JSON.stringify(modRevision), createRevision: 1, modRevision, leaseId: "0" };
}

/** An etcd that answers what it is told to, in the order in which answers may arrive. */
function scripted(first: Snapshot) {
  const steps: WatchStep[] = [];
  let wake: () => void = () => undefined;
  const state = { snapshot: first };
  const told: string[] = [];
  const etcd: Pick<EtcdPort, "getPrefix" | "watch"> = {
    getPrefix: async () => state.snapshot,
    async *watch() {
      for (;;) {
        for (const step of steps.splice(0)) yield step;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
  const mirror = new Mirror(etcd, z.number(), "k/", logger, (key, now, before) =>
    told.push(`${key} ${before?.record ?? "none"} ${now?.record ?? "none"}`),
  );
  void mirror.run(signal);
  return {
    mirror,
    told,
    read: (snapshot: Snapshot) => {
      state.snapshot = snapshot;
      return mirror.refresh(signal);
    },
    /** What the watch brings. */
    follow: async (...changes: Change[]) => {
      const revision = Math.max(
        ...changes.map((change) => (change.type === "put" ? change.entry.modRevision : change.revision)),
      );
      steps.push({ kind: "changes", revision, changes });
      wake();
      await new Promise((resolve) => setImmediate(resolve));
    },
    shown: () => mirror.values().map(({ key, record }) => `${key}=${record}`),
  };
}

it("follows the watch, and a reading that is ahead of it", async () => {
  const { mirror, read, follow, shown, told } = scripted({ entries: [put("k/a", 2)], revision: 3 });
  await mirror.loaded;
  await follow({ type: "put", entry: put("k/b", 4) });
  expect(shown()).toEqual(["k/a=2", "k/b=4"]);
  await read({ entries: [put("k/b", 4), put("k/c", 6)], revision: 7 });
  expect(shown()).toEqual(["k/b=4", "k/c=6"]);
  expect(told).toEqual(["k/b none 4", "k/a 2 none", "k/c none 6"]);
});

it("does not go back when the watch tells later what was read already", async () => {
  const { mirror, read, follow, shown, told } = scripted({ entries: [], revision: 1 });
  await mirror.loaded;
  await read({ entries: [put("k/b", 5)], revision: 6 });
  await follow({ type: "put", entry: put("k/a", 2) }, { type: "put", entry: put("k/b", 3) });
  await follow({ type: "delete", key: "k/a", revision: 4 }, { type: "delete", key: "k/b", revision: 4 });
  expect(shown()).toEqual(["k/b=5"]);
  await follow({ type: "put", entry: put("k/b", 5) }, { type: "delete", key: "k/b", revision: 7 });
  expect(shown()).toEqual([]);
  expect(told).toEqual(["k/b none 5", "k/b 5 none"]);
});

it("does not go back to a reading that arrives after later changes", async () => {
  const { mirror, read, follow, shown } = scripted({ entries: [put("k/a", 1)], revision: 1 });
  await mirror.loaded;
  await follow({ type: "delete", key: "k/a", revision: 8 });
  await read({ entries: [put("k/a", 1)], revision: 7 });
  expect(shown()).toEqual([]);
});
