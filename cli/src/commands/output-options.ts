import type { Command } from "commander";
import { exampleTemplate, parseFormat } from "../output/template.ts";

/** Adds the options that every command takes. `example`: what it prints, see output/template.ts. */
export function withOutputOptions(command: Command, example: object): Command {
  const template = exampleTemplate(example);
  return command
    .option("--json", "prints JSON: one document, or one a line where it streams")
    .option("--format <format>", `table, json, or a template: '${template}'`, (text) => parseFormat(text, example))
    .option("-q, --quiet", "prints names or ids alone, and no progress")
    .option(
      "--config <file>",
      "client configuration (default: $DRAYAGE_CONFIG, /etc/drayage/client.yaml or ~/.config/drayage/client.yaml)",
    );
}
