/**
 * Nodes are known by their lease while they are up. The leader writes down
 * what it sees of them, so that one that is down is not forgotten with the
 * coordinators that saw it; an operator may forget it.
 */
import { once } from "node:events";
import { pauseAtMost } from "@drayage/shared/concurrency/pause.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import { encodeRecord } from "@drayage/shared/etcd/records.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { KnownNodeRecord, type NodeRecord } from "@drayage/shared/state/node.ts";
import type { Leadership } from "../election/leadership.ts";
import type { ClusterView } from "./view.ts";

const RETRY_MS = 1_000;

/** Writes every change of a node's state, until the signal fires. */
export async function keepKnownNodes(
  { etcd, view, logger }: { readonly etcd: EtcdPort; readonly view: ClusterView; readonly logger: Logger },
  guard: Leadership["guard"],
  signal: AbortSignal,
): Promise<void> {
  /** What is to be written: the newest of each node. */
  const waiting = new Map<string, KnownNodeRecord>();
  let wake: () => void = () => undefined;
  const see = (node: NodeRecord) => {
    waiting.set(node.name, { node, lastSeenMs: Date.now() });
    wake();
  };
  const stopListening = view.onNodeState((node, state) => {
    if (state === "forgotten") waiting.delete(node.name);
    else see(node);
  });
  for (const { record, state } of view.nodes()) if (state !== "down") see(record);
  const ended = signal.aborted ? Promise.resolve() : once(signal, "abort");
  try {
    while (!signal.aborted) {
      const [next] = waiting.values();
      if (next === undefined) {
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        await Promise.race([woken, ended]);
        continue;
      }
      const { name } = next.node;
      const put = { do: "put", key: keys.knownNode(name), value: encodeRecord(KnownNodeRecord, next) } as const;
      try {
        await etcd.txn({ compare: guard, success: [put] }, { signal });
        if (waiting.get(name) === next) waiting.delete(name);
      } catch (thrown) {
        if (signal.aborted) break;
        logger.warn({ of_node: name, reason: toDrayError(thrown).reason }, "a node was not written down, trying again");
        await pauseAtMost(RETRY_MS, signal);
      }
    }
  } finally {
    stopListening();
  }
}

/** NOT_FOUND; PREFLIGHT for one that is up: it would be back at once. */
export async function forgetNode(etcd: EtcdPort, view: ClusterView, name: string, signal: AbortSignal): Promise<void> {
  view.node(name);
  const { succeeded } = await etcd.txn(
    { compare: [{ key: keys.node(name), is: "absent" }], success: [{ do: "delete", key: keys.knownNode(name) }] },
    { signal },
  );
  if (succeeded) return;
  throw new DrayError("PREFLIGHT", `node ${name} is up`, {
    remedy: `Stop its agent first, \`systemctl disable --now drayage-agent\` on ${name}, and wait until it is down.`,
    node: name,
  });
}
