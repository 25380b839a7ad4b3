/** Flags by which the operator accepts what preflight would refuse. */
import type { Command } from "commander";

/** Flag, and what is accepted by it. Findings name the flag that accepts them. */
const ALLOWANCES: Readonly<Record<string, string>> = {
  "allow-connection-loss": "accepts that connections to the container break",
};

export function withAllowOptions(command: Command): Command {
  for (const [flag, description] of Object.entries(ALLOWANCES)) command.option(`--${flag}`, description);
  return command;
}

/** The flags that were given, as the API takes them. */
export function acceptedFlags(options: object): string[] {
  const given = new Map<string, unknown>(Object.entries(options));
  return Object.keys(ALLOWANCES).filter((flag) => given.get(camelCase(flag)) === true);
}

function camelCase(flag: string): string {
  return flag.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}
