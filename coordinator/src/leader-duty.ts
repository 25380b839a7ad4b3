/** What a coordinator does while it leads: runs the migrations and keeps the cluster's events. */
import { once } from "node:events";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import type { CoordinatorMetrics } from "@drayage/shared/observe/metrics.ts";
import type { LeaderSeat } from "./api/leader-seat.ts";
import { EtcdEventLog } from "./cluster/event-log.ts";
import { keepKnownNodes } from "./cluster/known-nodes.ts";
import type { ClusterView, NodeState } from "./cluster/view.ts";
import type { Leadership } from "./election/leadership.ts";
import type { Agents } from "./orders/agent-orders.ts";
import type { SagaTimes } from "./saga/context.ts";
import { SagaSupervisor } from "./saga/supervisor.ts";

export interface LeaderDutyOptions {
  readonly coordinator: string;
  readonly etcd: EtcdPort;
  readonly view: ClusterView;
  readonly agents: Agents;
  readonly seat: LeaderSeat;
  readonly metrics: CoordinatorMetrics;
  readonly logger: Logger;
  readonly times: SagaTimes;
}

const NODE_EVENTS: Record<NodeState | "forgotten", { readonly type: string; readonly verb: string }> = {
  ready: { type: "node.up", verb: "is ready" },
  unhealthy: { type: "node.unhealthy", verb: "cannot take part" },
  down: { type: "node.down", verb: "is down" },
  forgotten: { type: "node.forgotten", verb: "is forgotten" },
};

/** Returns when the leadership is lost and every migration has been let go. */
export async function leadCluster(options: LeaderDutyOptions, leadership: Leadership): Promise<void> {
  const { coordinator, etcd, view, seat, metrics, logger } = options;
  metrics.leader.set(1);
  metrics.leaderTransitionsTotal.inc();
  let stopListening: () => void = () => undefined;
  let supervisor: SagaSupervisor | undefined;
  const leaving = new AbortController();
  const leads = AbortSignal.any([leadership.lost, leaving.signal]);
  const known = keepKnownNodes(options, leadership.guard, leads);
  try {
    const events = await EtcdEventLog.open(etcd, leadership, logger);
    events.add({ type: "leader.elected", message: `coordinator ${coordinator} leads, term ${leadership.term}` });
    stopListening = view.onNodeState((node, state) => {
      const { type, verb } = NODE_EVENTS[state];
      const why = node.problems.length > 0 && state === "unhealthy" ? `: ${node.problems.join("; ")}` : "";
      events.add({ type, node: node.name, message: `node ${node.name} ${verb}${why}` });
    });
    supervisor = await SagaSupervisor.takeOver({ ...options, leadership, events });
    seat.take(supervisor);
    if (!leadership.lost.aborted) await once(leadership.lost, "abort");
  } finally {
    seat.leave();
    stopListening();
    await supervisor?.settled();
    leaving.abort();
    await known;
    metrics.leader.set(0);
    metrics.leaderTransitionsTotal.inc();
  }
}
