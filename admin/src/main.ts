/** `drayage`: administration on a host, as root. */
import { REASONS } from "@drayage/shared/errors/reason.ts";
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { VERSION } from "@drayage/shared/observe/version.ts";
import { Command, CommanderError } from "commander";
import { dockerRuntimeCommand } from "./docker-runtime/command.ts";

const USAGE_EXIT_CODE = 2;

const program = new Command("drayage")
  .description("administration of Drayage on this host")
  .version(VERSION)
  .exitOverride()
  .addCommand(dockerRuntimeCommand());

for (const command of program.commands) command.exitOverride();

try {
  await program.parseAsync();
} catch (thrown) {
  if (thrown instanceof CommanderError) {
    process.exitCode = thrown.exitCode === 0 ? 0 : USAGE_EXIT_CODE;
  } else {
    const error = toDrayError(thrown);
    process.stderr.write(`drayage: ${error.message}\n  remedy: ${error.remedy}\n`);
    process.exitCode = REASONS[error.reason].exitCode;
  }
}
