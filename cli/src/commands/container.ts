/** `dray container ls | inspect`. */
import {
  type Container,
  GetContainerRequest,
  ListContainersRequest,
} from "@drayage/shared/gen/drayage/coordinator/v1/cluster.ts";
import { unary } from "@drayage/shared/rpc/client.ts";
import type { Command } from "commander";
import { QUICK } from "../cluster-session.ts";
import type { CommandContext, OutputOptions } from "../context.ts";
import { containerDocument, type ContainerDocument } from "../documents/cluster-documents.ts";
import { EXAMPLES } from "../documents/examples.ts";
import { layOutPairs, layOutTable } from "../output/table.ts";
import { found } from "./found.ts";
import { withOutputOptions } from "./output-options.ts";

const SHORT_ID = 12;

interface ListOptions extends OutputOptions {
  readonly all?: boolean;
  readonly node?: string;
}

export function addContainerCommands(program: Command, context: CommandContext): void {
  const container = program.command("container").description("containers of all nodes");
  withOutputOptions(container.command("ls").alias("list").description("lists containers"), EXAMPLES.container)
    .option("-a, --all", "also those that do not run")
    .option("--node <node>", "only those of this node")
    .action((options: ListOptions) => list(context, options));
  withOutputOptions(
    container
      .command("inspect")
      .argument("<container>", "name, id, or unique prefix of an id")
      .description("shows one container"),
    EXAMPLES.container,
  ).action((name: string, options: OutputOptions) => inspect(context, name, options));
}

async function list(context: CommandContext, options: ListOptions): Promise<void> {
  const request = ListContainersRequest.fromPartial({ node: options.node ?? "", all: options.all ?? false });
  const [{ containers }, { nodes }] = await context.withSession(options, (session) =>
    Promise.all([
      session.call(QUICK, ({ cluster }, settings) => unary(cluster, cluster.listContainers, request, settings)),
      session.call(QUICK, ({ cluster }, settings) => unary(cluster, cluster.listNodes, {}, settings)),
    ]),
  );
  for (const { name, state } of nodes) {
    if (state === "down" && (request.node === "" || request.node === name)) {
      context.terminal.note(`dray: ${name} is down; what it has is not known`);
    }
  }
  context.printList(options, containers.map(containerDocument), nameOf, () =>
    layOutTable(
      ["NAME", "NODE", "ID", "IMAGE", "STATE", "RUNTIME", "ADDRESSES", "MIGRATION"],
      containers.map(containerRow),
    ),
  );
}

async function inspect(context: CommandContext, name: string, options: OutputOptions): Promise<void> {
  const { container } = await context.withSession(options, (session) =>
    session.call(QUICK, ({ cluster }, settings) =>
      unary(cluster, cluster.getContainer, GetContainerRequest.fromPartial({ container: name }), settings),
    ),
  );
  const document = containerDocument(found(container, `container ${name}`));
  context.printOne(options, document, nameOf, () => containerLines(document));
}

function containerRow(container: Container): string[] {
  return [
    container.name,
    container.node,
    container.dockerId.slice(0, SHORT_ID),
    shortImage(container.image),
    container.state,
    container.runtime,
    Object.values(container.addresses).join(","),
    container.migrationId,
  ];
}

/** A name as it is; the digest of an image that has none here, as Docker shows it. */
function shortImage(image: string): string {
  const digest = /^(?:sha256:)?([0-9a-f]{64})$/.exec(image)?.[1];
  return digest === undefined ? image : digest.slice(0, SHORT_ID);
}

function containerLines(container: ContainerDocument): string[] {
  return layOutPairs([
    ["name", container.name],
    ["uuid", container.uuid],
    ["node", container.node],
    ["docker id", container.docker_id],
    ["image", container.image],
    ["state", container.state],
    ["runtime", container.runtime],
    ...Object.entries(container.addresses).map(([network, address]): [string, string] => [
      `address on ${network}`,
      address,
    ]),
    ["epoch", String(container.epoch)],
    ["migration", container.migration_id === "" ? "none" : container.migration_id],
  ]);
}

function nameOf(container: ContainerDocument): string {
  return container.name;
}
