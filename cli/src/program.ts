/** The command line of `dray`, put together. */
import { REVISION, VERSION } from "@drayage/shared/observe/version.ts";
import { Command } from "commander";
import { addCheckCommand } from "./commands/check.ts";
import { addCompletionCommand } from "./commands/completion.ts";
import { addContainerCommands } from "./commands/container.ts";
import { addEventsCommand } from "./commands/events.ts";
import { addMigrateCommand } from "./commands/migrate.ts";
import { addMigrationCommands } from "./commands/migration.ts";
import { addNodeCommands } from "./commands/node.ts";
import { addVersionCommand } from "./commands/version.ts";
import type { CommandContext } from "./context.ts";

const EXIT_CODES = `
Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 precondition not met,
5 unavailable, 6 failed but the source still runs, 7 outcome unknown,
124 timeout, 130 interrupted.`;

export function buildProgram(context: CommandContext): Command {
  const program = new Command("dray")
    .description("moves running Docker containers between hosts")
    .version(`${VERSION} (${REVISION})`)
    .addHelpText("after", EXIT_CODES)
    .showSuggestionAfterError()
    // Both are handed down to the commands made from here on.
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.terminal.data(text.trimEnd()),
      writeErr: (text) => context.terminal.note(text.trimEnd()),
      // Told by whoever catches it, as every other error.
      outputError: () => {},
    });
  addMigrateCommand(program, context);
  addMigrationCommands(program, context);
  addCheckCommand(program, context);
  addContainerCommands(program, context);
  addNodeCommands(program, context);
  addEventsCommand(program, context);
  addVersionCommand(program, context);
  addCompletionCommand(program, context);
  return program;
}
