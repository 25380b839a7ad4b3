/** Running commands and writing files in a node, for the lab's own purposes. */
import type { Readable } from "node:stream";
import { run, type RunOptions } from "../host/run.ts";
import type { Lab } from "./lab.ts";

/** How much of a command an error shows. */
const LABEL_WORDS = 4;
const LABEL_LENGTH = 80;

/** Runs a command that has to succeed in a node and gives its stdout. */
export async function runInNode(
  lab: Lab,
  node: string,
  argv: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const label = `${node}: ${argv.slice(0, LABEL_WORDS).join(" ").replaceAll("\n", " ").slice(0, LABEL_LENGTH)}`;
  return run(await lab.driver.command(node, argv), { label, ...options });
}

const WRITE =
  'set -eu\nmkdir -p -- "$(dirname "$1")"\numask 077\ncat >"$1.new"\nchmod "$2" "$1.new"\nmv -- "$1.new" "$1"\n';

export interface WriteOptions {
  readonly mode?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Writes a file of a node, whole or not at all. */
export async function writeInNode(
  lab: Lab,
  node: string,
  path: string,
  content: string | Readable,
  { mode = "0644", signal }: WriteOptions = {},
): Promise<void> {
  await runInNode(lab, node, ["/bin/sh", "-c", WRITE, "sh", path, mode], { stdin: content, signal });
}
