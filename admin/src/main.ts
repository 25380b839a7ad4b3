/** `drayage`: administration on a host, as root. */
import { REASONS } from "@drayage/shared/errors/reason.ts";
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { Command, CommanderError } from "commander";
import { REVISION, VERSION } from "@drayage/shared/observe/version.ts";
import { dockerRuntimeCommand } from "./docker-runtime/command.ts";
import { joinCommand, pkiCommand } from "./pki/command.ts";

const USAGE_EXIT_CODE = 2;

const program = new Command("drayage")
  .description("administration of Drayage on this host")
  .version(VERSION)
  .addCommand(pkiCommand())
  .addCommand(joinCommand())
  .addCommand(dockerRuntimeCommand())
  .addCommand(versionCommand());

throwInsteadOfExit(program);

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

function versionCommand(): Command {
  return new Command("version").description("says the version and what it was built from").action(() => {
    process.stdout.write(`drayage ${VERSION} (${REVISION})\n`);
  });
}

function throwInsteadOfExit(command: Command): void {
  command.exitOverride();
  for (const child of command.commands) throwInsteadOfExit(child);
}
