/** Runs one command line and gives its exit code. */
import { type DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Reason } from "@drayage/shared/errors/reason.ts";
import { CommanderError } from "commander";
import { CommandContext } from "./context.ts";
import { findingDocument } from "./documents/finding-document.ts";
import { EXIT, exitCodeOfError } from "./exit-code.ts";
import type { Interrupts } from "./interrupts.ts";
import { buildProgram } from "./program.ts";
import { usageError } from "./parse/usage-error.ts";
import type { Terminal } from "./terminal.ts";

export interface RunOptions {
  /** Without the program's own name. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly terminal: Terminal;
  readonly interrupts: Interrupts;
}

export async function run(options: RunOptions): Promise<number> {
  const { args, env, terminal, interrupts } = options;
  const context = new CommandContext(terminal, interrupts, env);
  try {
    await buildProgram(context).parseAsync(args, { from: "user" });
    return context.exitCode;
  } catch (thrown) {
    // Help and version are thrown too.
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return EXIT.done;
    const error = thrown instanceof CommanderError ? usage(thrown) : toDrayError(thrown);
    if (interrupts.signal.aborted) return EXIT.interrupted;
    const exitCode = exitCodeOfError(error);
    if (args.includes("--json") || wantsJsonFormat(args)) terminal.data(JSON.stringify(errorDocument(error, exitCode)));
    else for (const line of errorLines(error, terminal)) terminal.note(line);
    return exitCode;
  }
}

/** `dray node` and the like have printed their help, which says enough. */
function usage(thrown: CommanderError): DrayError {
  const message = thrown.code === "commander.help" ? "a subcommand is missing" : thrown.message.replace(/^error: /, "");
  return usageError(message.replaceAll("\n", " "), "`dray help` and `dray help COMMAND` show what is accepted.");
}

function wantsJsonFormat(args: readonly string[]): boolean {
  return args.includes("--format=json") || args[args.indexOf("--format") + 1] === "json";
}

/** What `--json` prints in place of data. */
function errorDocument(error: DrayError, exitCode: number) {
  const { reason, message, remedy, node } = error;
  const findings = error.findings.map(findingDocument);
  return { error: { reason, message, remedy, node, findings }, exit_code: exitCode };
}

/** Of these an error's node is only the one that has answered; what they are about is nowhere. */
const NOWHERE: ReadonlySet<Reason> = new Set(["NOT_FOUND", "AMBIGUOUS"]);

function errorLines(error: DrayError, terminal: Terminal): string[] {
  const where = error.node === "" || NOWHERE.has(error.reason) ? "" : `${error.node}: `;
  return [terminal.paint("red", `dray: ${where}${error.message}`), `  remedy: ${error.remedy}`];
}
