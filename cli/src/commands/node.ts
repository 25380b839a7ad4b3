/** `dray node ls | inspect | rm`. */
import {
  ForgetNodeRequest,
  GetNodeRequest,
  ListNodesRequest,
  type Node,
} from "@drayage/shared/gen/drayage/coordinator/v1/cluster.ts";
import { unary } from "@drayage/shared/rpc/client.ts";
import type { Command } from "commander";
import { QUICK } from "../cluster-session.ts";
import type { CommandContext, OutputOptions } from "../context.ts";
import { nodeDocument, type NodeDocument } from "../documents/cluster-documents.ts";
import { EXAMPLES } from "../documents/examples.ts";
import { layOutPairs, layOutTable } from "../output/table.ts";
import { showBytes, showTime } from "../output/units.ts";
import { found } from "./found.ts";
import { withOutputOptions } from "./output-options.ts";

export function addNodeCommands(program: Command, context: CommandContext): void {
  const node = program.command("node").description("hosts with an agent");
  withOutputOptions(node.command("ls").alias("list").description("lists all nodes"), EXAMPLES.node).action(
    (options: OutputOptions) => list(context, options),
  );
  withOutputOptions(node.command("inspect").argument("<node>").description("shows one node"), EXAMPLES.node).action(
    (name: string, options: OutputOptions) => inspect(context, name, options),
  );
  withOutputOptions(
    node
      .command("rm")
      .argument("<node>")
      .description("forgets a node that is down; it is back when its agent starts again"),
    { name: "" },
  ).action((name: string, options: OutputOptions) => forget(context, name, options));
}

async function list(context: CommandContext, options: OutputOptions): Promise<void> {
  const { nodes } = await context.withSession(options, (session) =>
    session.call(QUICK, ({ cluster }, settings) =>
      unary(cluster, cluster.listNodes, ListNodesRequest.create(), settings),
    ),
  );
  context.printList(options, nodes.map(nodeDocument), nameOf, () =>
    layOutTable(
      ["NAME", "STATE", "CONTAINERS", "CPUS", "MEMORY FREE", "DOCKER", "CRIU", "DRAYAGE", "LABELS"],
      nodes.map(nodeRow),
    ),
  );
}

async function inspect(context: CommandContext, name: string, options: OutputOptions): Promise<void> {
  const { node } = await context.withSession(options, (session) =>
    session.call(QUICK, ({ cluster }, settings) =>
      unary(cluster, cluster.getNode, GetNodeRequest.fromPartial({ name }), settings),
    ),
  );
  const document = nodeDocument(found(node, `node ${name}`));
  context.printOne(options, document, nameOf, () => nodeLines(document));
}

async function forget(context: CommandContext, name: string, options: OutputOptions): Promise<void> {
  await context.withSession(options, (session) =>
    session.call(QUICK, ({ cluster }, settings) =>
      unary(cluster, cluster.forgetNode, ForgetNodeRequest.fromPartial({ name }), settings),
    ),
  );
  context.printOne(
    options,
    { name },
    () => name,
    () => [`${name} is forgotten`],
  );
}

function nodeRow(node: Node): string[] {
  const document = nodeDocument(node);
  return [
    document.name,
    document.problems.length > 0 ? `${document.state} (${document.problems.join("; ")})` : document.state,
    String(document.running_containers),
    String(document.cpus),
    `${showBytes(document.memory_available_bytes)} of ${showBytes(document.memory_total_bytes)}`,
    document.host?.docker_version ?? "",
    document.host?.criu_version ?? "",
    document.host?.drayage_version ?? "",
    labelText(document),
  ];
}

function nodeLines(node: NodeDocument): string[] {
  const host = node.host;
  return layOutPairs([
    ["name", node.name],
    ["state", node.state],
    ...node.problems.map((problem): [string, string] => ["problem", problem]),
    ["labels", labelText(node)],
    ["addresses", node.addresses.join(", ")],
    ["containers", String(node.running_containers)],
    ["cpus", String(node.cpus)],
    ["memory", `${showBytes(node.memory_available_bytes)} free of ${showBytes(node.memory_total_bytes)}`],
    ["registered", node.registered_at === "" ? "" : showTime(Date.parse(node.registered_at))],
    ...(node.last_seen === "" ? [] : ([["last seen", showTime(Date.parse(node.last_seen))]] as const)),
    ...(host
      ? ([
          ["architecture", host.architecture],
          ["kernel", host.kernel],
          ["docker", host.docker_version],
          ["runc", host.runc_version],
          ["criu", host.criu_version === "" ? "missing" : `${host.criu_version} (${host.criu_features.join(", ")})`],
          ["drayage", host.drayage_version],
          ["cgroup", `${host.cgroup_version}, ${host.cgroup_driver}`],
          ["profiles", host.security_profiles.join(", ") || "none"],
        ] as const)
      : []),
  ]);
}

function labelText(node: NodeDocument): string {
  return Object.entries(node.labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}

function nameOf(node: NodeDocument): string {
  return node.name;
}
