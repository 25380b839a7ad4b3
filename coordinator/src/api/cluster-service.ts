/** ClusterService: any coordinator answers from its own view, after a look at what etcd has now. */
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import { decodeRecord } from "@drayage/shared/etcd/records.ts";
import { type Finding, Severity } from "@drayage/shared/gen/drayage/common/v1/finding.ts";
import {
  type CheckRequest,
  ClusterServiceService,
  type Container,
  type NodeVerdict,
  type WatchEventsResponse,
} from "@drayage/shared/gen/drayage/coordinator/v1/cluster.ts";
import { VERSION } from "@drayage/shared/observe/version.ts";
import { PROTOCOL_VERSIONS } from "@drayage/shared/rpc/protocol.ts";
import { type RpcService, service } from "@drayage/shared/rpc/server.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { EventRecord } from "@drayage/shared/state/migration.ts";
import type { InventoryRecord } from "@drayage/shared/state/node.ts";
import { resolveKnown, withContainer } from "../cluster/find-container.ts";
import { forgetNode } from "../cluster/known-nodes.ts";
import type { ClusterNode, ClusterView } from "../cluster/view.ts";
import type { Agents } from "../orders/agent-orders.ts";
import { obstacles } from "../preflight/findings.ts";
import {
  alreadyThere,
  checkDestination,
  checkPageRoutes,
  inspectSource,
  nodeFindings,
} from "../preflight/preflight.ts";
import { toContainer, toEvent, toNode } from "./to-proto.ts";

/** As with `docker ps`: what has processes. A container that is in its switch is paused. */
const LIVING: ReadonlySet<string> = new Set(["running", "paused", "restarting"]);

export interface ClusterServiceOptions {
  readonly name: string;
  readonly etcd: EtcdPort;
  readonly view: ClusterView;
  readonly agents: Agents;
}

export function clusterService(options: ClusterServiceOptions): RpcService {
  const { view } = options;
  const container = (record: InventoryRecord): Container =>
    toContainer(record, view.owner(record.uuid)?.epoch ?? 0, view.activeMigrationOf(record.uuid));
  return service(ClusterServiceService, {
    allowedRoles: ["operator", "coordinator"],
    handlers: {
      listNodes: async (_request, context) => {
        await view.refresh(context.signal);
        return { nodes: view.nodes().map(toNode) };
      },
      getNode: async (request, context) => {
        await view.refresh(context.signal);
        return { node: toNode(view.node(request.name)) };
      },
      forgetNode: async (request, context) => {
        await forgetNode(options.etcd, view, request.name, context.signal);
        return {};
      },
      listContainers: async (request, context) => {
        await view.refresh(context.signal);
        if (request.node !== "") view.node(request.node);
        const containers = view
          .containers()
          .filter(
            (record) =>
              (request.node === "" || record.node === request.node) && (request.all || LIVING.has(record.state)),
          )
          .sort((one, other) => one.node.localeCompare(other.node) || one.name.localeCompare(other.name));
        return { containers: containers.map(container) };
      },
      getContainer: async (request, context) => {
        await view.refresh(context.signal);
        return { container: container(resolveKnown(view, request.container)) };
      },
      check: async (request, context) => ({ verdicts: await check(options, request, context.signal) }),
      watchEvents: (request, context) => watchEvents(options.etcd, request.follow, context.signal),
      getVersion: async () => ({
        version: VERSION,
        protocolVersions: [...PROTOCOL_VERSIONS],
        coordinator: options.name,
        leader: view.leader()?.name ?? "",
      }),
    },
  });
}

async function check(
  options: ClusterServiceOptions,
  request: CheckRequest,
  signal: AbortSignal,
): Promise<NodeVerdict[]> {
  const { view } = options;
  if (request.container === "") {
    await view.refresh(signal);
    const nodes = request.node === "" ? view.nodes() : [view.node(request.node)];
    return nodes.map((node) => verdict(node.record.name, nodeFindings(node), request.allowFlags));
  }
  return await withContainer(view, request.container, signal, (container) =>
    checkContainer(options, request, container, signal),
  );
}

async function checkContainer(
  options: ClusterServiceOptions,
  request: CheckRequest,
  container: InventoryRecord,
  signal: AbortSignal,
): Promise<NodeVerdict[]> {
  const { view } = options;
  const { allowFlags } = request;
  const nodes =
    request.node === ""
      ? view.nodes().filter((node) => node.record.name !== container.node)
      : [view.node(request.node)];
  if (request.node === container.node) throw alreadyThere(container);
  const migration = view.activeMigrationOf(container.uuid);
  // Of its own copy, and of its network lock, preflight would say what is true of strangers.
  if (migration !== "") {
    return nodes.map(({ record: { name } }) => verdict(name, [underWay(container, migration, name)], allowFlags));
  }
  const source = await inspectSource(options, container, allowFlags, signal);
  const reachable = nodes.filter((node) => nodeFindings(node).length === 0);
  const routes = checkPageRoutes(options, container.node, reachable, signal);
  const verdicts = nodes.map(async (node) => {
    const { name } = node.record;
    const found = await destinationFindings(node, async () => {
      const here = checkDestination(options, source.description, container.node, name, allowFlags, signal);
      const [there, onTheWay] = await Promise.all([here, routes]);
      return [...(onTheWay.get(name) ?? []), ...there];
    });
    return verdict(node.record.name, [...source.findings, ...found], allowFlags);
  });
  return await Promise.all(verdicts);
}

function underWay({ name }: InventoryRecord, migration: string, node: string): Finding {
  return {
    code: "migration-under-way",
    severity: Severity.SEVERITY_BLOCKING,
    node,
    message: `${name} is being moved by migration ${migration}.`,
    remedy: `Wait for its end: \`dray migration watch ${migration}\`.`,
    allowFlag: "",
  };
}

/** A node that cannot be asked is a finding, not an error: the others are still of interest. */
async function destinationFindings(
  node: ClusterNode,
  ask: () => Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  const own = nodeFindings(node);
  if (own.length > 0) return own;
  try {
    return await ask();
  } catch (thrown) {
    const error = toDrayError(thrown);
    if (error.reason === "CANCELLED") throw error;
    const { message, remedy } = error;
    return [
      {
        code: "check-failed",
        severity: Severity.SEVERITY_BLOCKING,
        node: node.record.name,
        message,
        remedy,
        allowFlag: "",
      },
    ];
  }
}

function verdict(node: string, findings: Finding[], allowFlags: readonly string[]): NodeVerdict {
  return { node, ok: obstacles(findings, allowFlags).length === 0, findings };
}

async function* watchEvents(
  etcd: EtcdPort,
  follow: boolean,
  signal: AbortSignal,
): AsyncGenerator<WatchEventsResponse, void, undefined> {
  const snapshot = await etcd.getPrefix(keys.events(), { signal });
  let seen = 0;
  for (const entry of snapshot.entries)
    yield { event: toEvent(decodeRecord(EventRecord, entry).record, entry.createRevision) };
  if (!follow) return;
  seen = snapshot.revision;
  for (;;) {
    for await (const step of etcd.watch(keys.events(), { fromRevision: seen + 1, signal })) {
      if (step.kind === "compacted") {
        seen = step.revision;
        break;
      }
      for (const change of step.changes) {
        if (change.type !== "put") continue;
        yield { event: toEvent(decodeRecord(EventRecord, change.entry).record, change.entry.createRevision) };
      }
      seen = step.revision;
    }
    if (signal.aborted) return;
  }
}
