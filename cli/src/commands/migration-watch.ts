/** Following a migration to its end, across coordinators, and saying how it ended. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { type Migration, WatchMigrationRequest } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { serverStream } from "@drayage/shared/rpc/client.ts";
import type { ClusterSession } from "../cluster-session.ts";
import { type CommandContext, isJson, isTemplate, type OutputOptions } from "../context.ts";
import { hasOutcome, migrationDocument } from "../documents/migration-document.ts";
import { EXIT, exitCodeOfMigration } from "../exit-code.ts";
import { type LiveView, liveView, SILENT_VIEW } from "../output/live-view.ts";
import { endLine, remedyOf } from "../output/migration-view.ts";
import { fillTemplate } from "../output/template.ts";

/** Longer than a change of leader with a lease of a minute takes. */
const WATCH_PATIENCE_MS = 120_000;

/** A view that fits the options: none when progress is not wanted. */
export function viewFor(context: CommandContext, options: OutputOptions): LiveView {
  if (options.quiet || isJson(options)) return SILENT_VIEW;
  const view = liveView(context.terminal);
  context.noteVia(view);
  return view;
}

/**
 * Shows every change; gives the migration as it ended. With --json each change
 * is a line of NDJSON on stdout. OUTCOME_UNKNOWN when no coordinator answers
 * for too long.
 */
export async function watchToEnd(
  context: CommandContext,
  session: ClusterSession,
  id: string,
  options: OutputOptions,
  view: LiveView = viewFor(context, options),
): Promise<Migration> {
  let last: Migration | undefined;
  for await (const migration of migrationChanges(session, id)) {
    last = migration;
    if (isJson(options)) context.terminal.data(JSON.stringify(migrationDocument(migration)));
    view.update(migration);
  }
  return ended(last, id);
}

/** The migration at every change, ending with its outcome. */
export async function* migrationChanges(
  session: ClusterSession,
  id: string,
): AsyncGenerator<Migration, void, undefined> {
  let last: Migration | undefined;
  const stream = session.follow(
    WATCH_PATIENCE_MS,
    ({ migrations }, settings) =>
      serverStream(migrations, migrations.watchMigration, WatchMigrationRequest.fromPartial({ id }), settings),
    (answer) => answer?.migration !== undefined && hasOutcome(answer.migration),
  );
  try {
    for await (const { migration } of stream) {
      if (!migration) continue;
      last = migration;
      yield migration;
      if (hasOutcome(migration)) return;
    }
  } catch (thrown) {
    if (last === undefined || !(thrown instanceof DrayError) || thrown.mapping.exitCode !== EXIT.unavailable)
      throw thrown;
    throw new DrayError("OUTCOME_UNKNOWN", `no coordinator tells how migration ${last.id} goes on: ${thrown.message}`, {
      remedy: `It goes on without this command. Ask again with \`dray migration watch ${last.id}\`.`,
      cause: thrown,
    });
  }
}

export function ended(last: Migration | undefined, id: string): Migration {
  if (last === undefined) throw new DrayError("INTERNAL", `the coordinator said nothing of migration ${id}`);
  return last;
}

/** Prints how a migration ended, and sets the exit code. `streamed`: its JSON has been printed already. */
export function report(
  context: CommandContext,
  migration: Migration,
  options: OutputOptions & { streamed?: boolean },
): void {
  const document = migrationDocument(migration);
  const { terminal } = context;
  context.exitCode = exitCodeOfMigration(document);
  if (isJson(options)) {
    if (!options.streamed) terminal.data(JSON.stringify(document, undefined, 2));
  } else if (isTemplate(options)) {
    terminal.data(fillTemplate(options.format, document));
  } else if (options.quiet) {
    terminal.data(document.id);
  } else if (document.outcome === "completed") {
    terminal.data(endLine(migration));
  }
  if (document.outcome === "completed" || isJson(options)) return;
  terminal.note(terminal.paint("red", `dray: ${endLine(migration)}`));
  if (document.outcome === "unknown") {
    // What went wrong at first is not what is to be done now.
    if (document.reason !== "") terminal.note(`  ${document.reason}`);
    terminal.note(`  remedy: ${remedyOf(document)}`);
  } else if (document.error) {
    const where =
      document.error.node === "" ? document.error.phase : `${document.error.phase} on ${document.error.node}`;
    terminal.note(`  ${where}: ${document.error.message}`);
    terminal.note(`  remedy: ${remedyOf(document)}`);
  } else if (document.reason !== "") {
    terminal.note(`  ${document.reason}`);
  }
}
