/** `dray migrate CONTAINER`: starts a migration and stays with it. */
import { randomUUID } from "node:crypto";
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import {
  CancelMigrationRequest,
  type Migration,
  type Mode,
  StartMigrationRequest,
} from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { unary } from "@drayage/shared/rpc/client.ts";
import { type Command, Option } from "commander";
import { type ClusterSession, type Patience, QUICK } from "../cluster-session.ts";
import { type CommandContext, isJson, type OutputOptions } from "../context.ts";
import { EXAMPLES } from "../documents/examples.ts";
import { migrationDocument } from "../documents/migration-document.ts";
import { EXIT } from "../exit-code.ts";
import { findingLines } from "../output/finding-lines.ts";
import type { LiveView } from "../output/live-view.ts";
import { parseConstraint } from "../parse/constraint.ts";
import { parseName } from "../parse/name.ts";
import { parseDurationMs } from "../parse/duration.ts";
import { parseMode } from "../parse/mode.ts";
import { parseBytesPerSecond } from "../parse/rate.ts";
import { acceptedFlags, withAllowOptions } from "./allow-options.ts";
import { found } from "./found.ts";
import { ended, migrationChanges, report, viewFor } from "./migration-watch.ts";
import { withOutputOptions } from "./output-options.ts";

interface MigrateOptions extends OutputOptions {
  readonly to?: string;
  readonly mode: Mode;
  readonly maxDowntime?: number;
  readonly autoConverge?: boolean;
  readonly bandwidth?: number;
  readonly constraint?: string[];
  readonly timeout?: number;
  readonly dryRun?: boolean;
  readonly detach?: boolean;
}

/** The answer comes after preflight; a repeated request finds the migration of the first. */
const START: Patience = { deadlineMs: 60_000, patienceMs: 30_000 };

export function addMigrateCommand(program: Command, context: CommandContext): void {
  const command = program
    .command("migrate")
    .argument("<container>", "name, id, or unique prefix of an id", parseName)
    .description("moves a running container to another node")
    .option("--to <node>", "destination; Drayage chooses if it is not given", parseName)
    .addOption(
      new Option("--mode <mode>", "auto, stop-copy, pre-copy, post-copy, hybrid")
        .argParser(parseMode)
        .default(parseMode("auto"), "auto"),
    )
    .option("--max-downtime <duration>", "downtime to aim for, for example 300ms", parseDurationMs)
    .option("--auto-converge", "slows the container down where its memory changes faster than it can be sent")
    .option(
      "--bandwidth <rate>",
      "cap on what goes over the wire, in the downtime too, for example 500M",
      parseBytesPerSecond,
    )
    .option("--constraint <constraint>", "for example node.labels.zone==b; may be given again", collectConstraint)
    .option("--timeout <duration>", "rolls back after this long, for example 10m", parseDurationMs)
    .option("--dry-run", "checks only; nothing is touched")
    .option("-d, --detach", "returns as soon as the migration is accepted");
  withOutputOptions(withAllowOptions(command), EXAMPLES.migration).action(
    (container: string, options: MigrateOptions) => migrate(context, container, options),
  );
}

function collectConstraint(text: string, earlier: string[] = []): string[] {
  return [...earlier, parseConstraint(text)];
}

async function migrate(context: CommandContext, container: string, options: MigrateOptions): Promise<void> {
  const request = StartMigrationRequest.fromPartial({
    container,
    to: options.to ?? "",
    mode: options.mode,
    maxDowntimeMs: options.maxDowntime ?? 0,
    autoConverge: options.autoConverge ?? false,
    bandwidthBytesPerSecond: options.bandwidth ?? 0,
    constraints: options.constraint ?? [],
    timeoutMs: options.timeout ?? 0,
    dryRun: options.dryRun ?? false,
    requestId: randomUUID(),
    allowFlags: acceptedFlags(options),
  });
  await context.withSession(options, async (session) => {
    if (options.dryRun) {
      reportDryRun(context, await start(session, request), options);
    } else if (options.detach) {
      reportAccepted(context, await start(session, request), options);
    } else {
      const view = viewFor(context, options);
      const cancelling = new Cancelling(context, session, view);
      try {
        const accepted = await start(session, request);
        cancelling.nowIs(accepted.id);
        view.update(accepted);
        for (const line of findingLines(migrationDocument(accepted).findings)) view.note(line);
        report(context, await stay(session, accepted.id, view), options);
      } finally {
        cancelling.release();
      }
      // One that came too late has changed nothing: what was asked for is done.
      if (context.interrupts.happened && context.exitCode !== EXIT.done) context.exitCode = EXIT.interrupted;
    }
  });
}

async function start(session: ClusterSession, request: StartMigrationRequest): Promise<Migration> {
  const { migration } = await session.call(START, ({ migrations }, settings) =>
    unary(migrations, migrations.startMigration, request, settings),
  );
  return found(migration, "the migration");
}

async function stay(session: ClusterSession, id: string, view: LiveView): Promise<Migration> {
  let last: Migration | undefined;
  for await (const migration of migrationChanges(session, id)) {
    last = migration;
    view.update(migration);
  }
  return ended(last, id);
}

/**
 * Ctrl-C while a migration is attached: the first asks for a roll-back, and
 * the command stays to tell how it ends; the second leaves. An interrupt before
 * the migration has an id is kept until it has one.
 */
class Cancelling {
  readonly #context: CommandContext;
  readonly #session: ClusterSession;
  readonly #view: LiveView;
  readonly #release: () => void;
  #id: string | undefined;
  #isWanted = false;

  constructor(context: CommandContext, session: ClusterSession, view: LiveView) {
    this.#context = context;
    this.#session = session;
    this.#view = view;
    this.#release = context.interrupts.take(() => this.#interrupted());
  }

  nowIs(id: string): void {
    this.#id = id;
    if (this.#isWanted) void this.#cancel(id);
  }

  release(): void {
    this.#release();
  }

  #interrupted(): void {
    if (this.#isWanted) {
      const where = this.#id === undefined ? "dray migration ls" : `dray migration watch ${this.#id}`;
      this.#context.terminal.note(`dray: left; the migration may go on without this command, see: ${where}`);
      this.#context.interrupts.abort();
      return;
    }
    this.#isWanted = true;
    this.#view.note("cancelling: the container is to stay where it is (interrupt again to leave)");
    if (this.#id !== undefined) void this.#cancel(this.#id);
  }

  async #cancel(id: string): Promise<void> {
    try {
      await this.#session.call(QUICK, ({ migrations }, settings) =>
        unary(migrations, migrations.cancelMigration, CancelMigrationRequest.fromPartial({ id }), settings),
      );
    } catch (thrown) {
      const error = toDrayError(thrown);
      // The end of the migration is reported in any case.
      this.#context.terminal.note(`dray: not cancelled: ${error.message}\n  remedy: ${error.remedy}`);
    }
  }
}

function reportDryRun(context: CommandContext, migration: Migration, options: MigrateOptions): void {
  const document = migrationDocument(migration);
  context.printOne(
    options,
    document,
    ({ destination }) => destination,
    () => [
      `${document.container} can be migrated from ${document.source} to ${document.destination} (${document.mode})`,
      ...(document.reason === "" ? [] : [`  ${document.reason}`]),
      ...findingLines(document.findings),
    ],
  );
}

function reportAccepted(context: CommandContext, migration: Migration, options: MigrateOptions): void {
  const view = viewFor(context, options);
  for (const line of findingLines(migrationDocument(migration).findings)) view.note(line);
  if (!options.quiet && !isJson(options)) context.terminal.note(`follow it with: dray migration watch ${migration.id}`);
  context.printOne(
    options,
    migrationDocument(migration),
    ({ id }) => id,
    () => [migration.id],
  );
}
