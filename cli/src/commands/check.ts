/** `dray check [NODE | CONTAINER [--to NODE]]`: preflight, nothing is touched. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import {
  CheckRequest,
  ListNodesRequest,
  type NodeVerdict,
} from "@drayage/shared/gen/drayage/coordinator/v1/cluster.ts";
import { unary } from "@drayage/shared/rpc/client.ts";
import type { Command } from "commander";
import type { ClusterSession, Patience } from "../cluster-session.ts";
import { QUICK } from "../cluster-session.ts";
import type { CommandContext, OutputOptions } from "../context.ts";
import { verdictDocument, type VerdictDocument } from "../documents/cluster-documents.ts";
import { EXAMPLES } from "../documents/examples.ts";
import { EXIT } from "../exit-code.ts";
import { findingLines } from "../output/finding-lines.ts";
import { parseName } from "../parse/name.ts";
import { acceptedFlags, withAllowOptions } from "./allow-options.ts";
import { withOutputOptions } from "./output-options.ts";

interface CheckOptions extends OutputOptions {
  readonly to?: string;
}

/** Preflight asks several hosts, and each runs CRIU's own checks. */
const THOROUGH: Patience = { deadlineMs: 60_000, patienceMs: 10_000 };

export function addCheckCommand(program: Command, context: CommandContext): void {
  const command = program
    .command("check")
    .argument("[target]", "a node; or a container, for --to or for every node", parseName)
    .description("says what stands against a migration; touches nothing")
    .option("--to <node>", "destination", parseName);
  withOutputOptions(withAllowOptions(command), EXAMPLES.verdict).action(
    (target: string | undefined, options: CheckOptions) => check(context, target, options),
  );
}

async function check(context: CommandContext, target: string | undefined, options: CheckOptions): Promise<void> {
  const allowFlags = acceptedFlags(options);
  const { verdicts, isPlacement } = await context.withSession(options, async (session) => {
    const nodes = await nodeNames(session);
    if (target === undefined) {
      const all = await Promise.all(
        (options.to ? [options.to] : nodes).map((node) => ask(session, { node, allowFlags })),
      );
      return { verdicts: all.flat(), isPlacement: false };
    }
    const request =
      options.to === undefined && nodes.includes(target)
        ? { node: target, allowFlags }
        : { container: target, node: options.to ?? "", allowFlags };
    return { verdicts: await ask(session, request), isPlacement: "container" in request && options.to === undefined };
  });
  const documents = verdicts.map(verdictDocument);
  context.printList(
    options,
    documents,
    (verdict) => verdict.node,
    () => documents.flatMap(verdictLines),
  );
  // Looking for a place, one is enough.
  const isPossible = isPlacement ? documents.some(({ ok }) => ok) : documents.every(({ ok }) => ok);
  if (!isPossible) context.exitCode = EXIT.precondition;
}

async function nodeNames(session: ClusterSession): Promise<string[]> {
  const { nodes } = await session.call(QUICK, ({ cluster }, settings) =>
    unary(cluster, cluster.listNodes, ListNodesRequest.create(), settings),
  );
  return nodes.map(({ name }) => name);
}

async function ask(
  session: ClusterSession,
  request: { container?: string; node: string; allowFlags: string[] },
): Promise<NodeVerdict[]> {
  const { verdicts } = await session.call(THOROUGH, ({ cluster }, settings) =>
    unary(cluster, cluster.check, CheckRequest.fromPartial(request), settings),
  );
  if (verdicts.length === 0) throw new DrayError("NO_PLACEMENT", "there is no node to check");
  return verdicts;
}

function verdictLines(verdict: VerdictDocument): string[] {
  return [`${verdict.node}: ${verdict.ok ? "ok" : "not possible"}`, ...findingLines(verdict.findings)];
}
