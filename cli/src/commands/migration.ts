/** `dray migration ls | inspect | watch | cancel`. */
import {
  CancelMigrationRequest,
  GetMigrationRequest,
  ListMigrationsRequest,
  type Migration,
} from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { unary } from "@drayage/shared/rpc/client.ts";
import type { Command } from "commander";
import { QUICK } from "../cluster-session.ts";
import type { CommandContext, OutputOptions } from "../context.ts";
import { EXAMPLES } from "../documents/examples.ts";
import { migrationDocument, type MigrationDocument } from "../documents/migration-document.ts";
import { findingLines } from "../output/finding-lines.ts";
import { endLine, phaseRows, progressText, remedyOf } from "../output/migration-view.ts";
import { layOutPairs, layOutTable } from "../output/table.ts";
import { showBytes, showDuration, showTime } from "../output/units.ts";
import { usageError } from "../parse/usage-error.ts";
import { found } from "./found.ts";
import { report, watchToEnd } from "./migration-watch.ts";
import { withOutputOptions } from "./output-options.ts";

interface ListOptions extends OutputOptions {
  readonly active?: boolean;
  readonly limit: number;
}

interface CancelOptions extends OutputOptions {
  readonly allowProgressLoss?: boolean;
}

const DEFAULT_LIMIT = 20;

export function addMigrationCommands(program: Command, context: CommandContext): void {
  const migration = program.command("migration").description("migrations, past and under way");
  withOutputOptions(
    migration.command("ls").alias("list").description("lists migrations, newest first"),
    EXAMPLES.migration,
  )
    .option("--active", "only those under way")
    .option("--limit <count>", "at most so many", parseCount, DEFAULT_LIMIT)
    .action((options: ListOptions) => list(context, options));
  withOutputOptions(
    migration.command("inspect").argument("<id>").description("shows one migration"),
    EXAMPLES.migration,
  ).action((id: string, options: OutputOptions) => inspect(context, id, options));
  withOutputOptions(
    migration
      .command("watch")
      .argument("<id>")
      .description("follows a migration to its end; Ctrl-C stops watching only"),
    EXAMPLES.migration,
  ).action((id: string, options: OutputOptions) => watch(context, id, options));
  withOutputOptions(
    migration
      .command("cancel")
      .argument("<id>")
      .description("asks for a roll-back; too late after the commit")
      .option(
        "--allow-progress-loss",
        "of one that failed after the commit: the container goes on at its source from where it was frozen; " +
          "what the copy may have done since is given up",
      ),
    EXAMPLES.migration,
  ).action((id: string, options: CancelOptions) => cancel(context, id, options));
}

async function list(context: CommandContext, options: ListOptions): Promise<void> {
  const request = ListMigrationsRequest.fromPartial({ activeOnly: options.active ?? false, limit: options.limit });
  const { migrations } = await context.withSession(options, (session) =>
    session.call(QUICK, (clients, settings) =>
      unary(clients.migrations, clients.migrations.listMigrations, request, settings),
    ),
  );
  context.printList(options, migrations.map(migrationDocument), idOf, () =>
    layOutTable(
      ["ID", "CONTAINER", "FROM", "TO", "MODE", "STARTED", "OUTCOME", "DOWNTIME", "TOTAL"],
      migrations.map(migrationRow),
    ),
  );
}

async function inspect(context: CommandContext, id: string, options: OutputOptions): Promise<void> {
  const { migration } = await context.withSession(options, (session) =>
    session.call(QUICK, ({ migrations }, settings) =>
      unary(migrations, migrations.getMigration, GetMigrationRequest.fromPartial({ id }), settings),
    ),
  );
  const present = found(migration, `migration ${id}`);
  context.printOne(options, migrationDocument(present), idOf, () => migrationLines(present));
}

async function watch(context: CommandContext, id: string, options: OutputOptions): Promise<void> {
  const last = await context.withSession(options, (session) => watchToEnd(context, session, id, options));
  report(context, last, { ...options, streamed: true });
}

async function cancel(context: CommandContext, id: string, options: CancelOptions): Promise<void> {
  const request = CancelMigrationRequest.fromPartial({ id, allowProgressLoss: options.allowProgressLoss ?? false });
  const { migration } = await context.withSession(options, (session) =>
    session.call(QUICK, ({ migrations }, settings) => unary(migrations, migrations.cancelMigration, request, settings)),
  );
  const present = found(migration, `migration ${id}`);
  context.printOne(options, migrationDocument(present), idOf, () => [
    `${present.id} is being rolled back; follow it with: dray migration watch ${present.id}`,
  ]);
}

function migrationRow(migration: Migration): string[] {
  const document = migrationDocument(migration);
  return [
    migration.id,
    migration.container,
    migration.source,
    migration.destination,
    document.mode,
    showTime(migration.startedAtMs),
    document.outcome ?? migration.phase,
    durationOf(document.downtime_ms),
    durationOf(document.total_ms),
  ];
}

function migrationLines(migration: Migration): string[] {
  const document = migrationDocument(migration);
  const { error } = document;
  const phases = phaseRows(migration);
  const rounds = layOutTable(
    ["ROUND", "SENT", "PAGES", "DIRTY", "WIRE", "DURATION", "STOOD STILL"],
    migration.rounds.map((round, index) => [
      String(index + 1),
      showBytes(round.bytes),
      String(round.pages),
      showBytes(round.dirtyBytes),
      showBytes(round.wireBytes),
      showDuration(round.durationMs),
      round.stillMs > 0 ? showDuration(round.stillMs) : "",
    ]),
  );
  return [
    endLine(migration),
    "",
    ...layOutKnown([
      ["id", document.id],
      ["container", `${document.container} (${document.container_uuid})`],
      ["source", document.source],
      ["destination", document.destination],
      ["mode", document.mode],
      ["phase", document.phase],
      ["progress", progressText(migration)],
      ["outcome", document.outcome ?? "under way"],
      ["reason", document.reason],
      ["started", showTime(migration.startedAtMs)],
      ["downtime", durationOf(document.downtime_ms)],
      ["stood still", durationOf(document.frozen_ms)],
      ["total", durationOf(document.total_ms)],
      ["memory", amountOf(document.memory_bytes)],
      ["wire", amountOf(document.wire_bytes)],
      ...(error
        ? ([
            ["error", error.message],
            ["in phase", error.phase],
            ["on node", error.node],
          ] as const)
        : []),
      ["remedy", remedyOf(document)],
    ]),
    ...(phases.length > 0 ? ["", ...layOutTable(["PHASE", "ON", "STARTED", "DURATION"], phases)] : []),
    ...(migration.rounds.length > 0 ? ["", ...rounds] : []),
    ...(document.decisions.length > 0 ? ["", ...document.decisions] : []),
    ...(document.findings.length > 0 ? ["", ...findingLines(document.findings)] : []),
  ];
}

/** What is not known yet is left out. */
function layOutKnown(pairs: readonly (readonly [string, string])[]): string[] {
  return layOutPairs(pairs.filter(([, value]) => value !== ""));
}

function durationOf(milliseconds: number | null): string {
  return milliseconds === null ? "" : showDuration(milliseconds);
}

/** Nothing for what has not been sent. */
function amountOf(bytes: number): string {
  return bytes === 0 ? "" : showBytes(bytes);
}

function parseCount(text: string): number {
  if (!/^\d{1,6}$/.test(text) || Number(text) < 1)
    throw usageError(`"${text}" is not a count`, "Write a number above 0.");
  return Number(text);
}

function idOf(migration: MigrationDocument): string {
  return migration.id;
}
