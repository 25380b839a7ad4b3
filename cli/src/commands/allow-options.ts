/** Flags by which the operator accepts what preflight would refuse. */
import type { Command } from "commander";

/** Flag, and what is accepted by it. Findings name the flag that accepts them. */
const ALLOWANCES: Readonly<Record<string, string>> = {
  "allow-connection-loss": "accepts that connections to the container break",
  "allow-sysctl-loss": "accepts that network sysctls changed inside the container are lost",
  "allow-unknown-settings": "accepts settings of the container that this version does not know",
};

export function withAllowOptions(command: Command): Command {
  for (const [flag, description] of Object.entries(ALLOWANCES)) command.option(`--${flag}`, description);
  return command;
}

/** The flags that were given, as findings name them: "--allow-connection-loss". */
export function acceptedFlags(options: object): string[] {
  const given = new Map<string, unknown>(Object.entries(options));
  return Object.keys(ALLOWANCES)
    .filter((flag) => given.get(camelCase(flag)) === true)
    .map((flag) => `--${flag}`);
}

function camelCase(flag: string): string {
  return flag.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}
