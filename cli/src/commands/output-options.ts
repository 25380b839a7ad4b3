import type { Command } from "commander";

/** Adds the options that every command takes. */
export function withOutputOptions(command: Command): Command {
  return command
    .option("--json", "prints JSON: one document, or one a line where it streams")
    .option("--format <format>", "table, json, or a template: '{{.name}} {{.state}}'")
    .option("-q, --quiet", "prints names or ids alone, and no progress")
    .option(
      "--config <file>",
      "client configuration (default: $DRAYAGE_CONFIG, /etc/drayage/client.yaml or ~/.config/drayage/client.yaml)",
    );
}
