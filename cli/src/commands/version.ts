/** `dray version`. */
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { GetVersionRequest } from "@drayage/shared/gen/drayage/coordinator/v1/cluster.ts";
import { REVISION, VERSION } from "@drayage/shared/observe/version.ts";
import { unary } from "@drayage/shared/rpc/client.ts";
import { PROTOCOL_VERSIONS } from "@drayage/shared/rpc/protocol.ts";
import type { Command } from "commander";
import type { CommandContext, OutputOptions } from "../context.ts";
import { exitCodeOfError } from "../exit-code.ts";
import { layOutPairs } from "../output/table.ts";
import { withOutputOptions } from "./output-options.ts";

interface VersionOptions extends OutputOptions {
  readonly client?: boolean;
}

/** One attempt is enough to say what is reachable now. */
const ONE_ATTEMPT = { deadlineMs: 5_000, patienceMs: 0 };

const CLIENT = { version: VERSION, revision: REVISION, protocol_versions: [...PROTOCOL_VERSIONS] };

/** The coordinator has answered, or has not. */
const EXAMPLE = { client: CLIENT, server: { name: "", version: "", protocol_versions: [0], leader: "", error: "" } };

export function addVersionCommand(program: Command, context: CommandContext): void {
  withOutputOptions(
    program.command("version").description("shows the versions of dray and of the coordinator"),
    EXAMPLE,
  )
    .option("--client", "of dray alone; asks no coordinator")
    .action((options: VersionOptions) => version(context, options));
}

async function version(context: CommandContext, options: VersionOptions): Promise<void> {
  const server = options.client ? null : await serverVersion(context, options);
  context.printOne(
    options,
    { client: CLIENT, server },
    () => VERSION,
    () =>
      layOutPairs([
        ["dray", `${CLIENT.version} (${CLIENT.revision}), protocol ${CLIENT.protocol_versions.join(", ")}`],
        ...(options.client ? [] : [["coordinator", serverText(server)] as const]),
      ]),
  );
}

type ServerVersion =
  | { readonly name: string; readonly version: string; readonly protocol_versions: number[]; readonly leader: string }
  | { readonly error: string };

async function serverVersion(context: CommandContext, options: VersionOptions): Promise<ServerVersion> {
  try {
    const answer = await context.withSession({ ...options, quiet: true }, (session) =>
      session.call(ONE_ATTEMPT, ({ cluster }, settings) =>
        unary(cluster, cluster.getVersion, GetVersionRequest.create(), settings),
      ),
    );
    const { coordinator: name, version, protocolVersions, leader } = answer;
    return { name, version, protocol_versions: protocolVersions, leader };
  } catch (thrown) {
    const error = toDrayError(thrown);
    context.exitCode = exitCodeOfError(error);
    return { error: error.message };
  }
}

function serverText(server: ServerVersion | null): string {
  if (server === null) return "";
  if ("error" in server) return `not reached: ${server.error}`;
  const leader = server.leader === "" ? "no leader now" : `leader ${server.leader}`;
  return `${server.version} (${server.name}), protocol ${server.protocol_versions.join(", ")}, ${leader}`;
}
