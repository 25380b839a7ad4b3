/** Where a benchmark's results go, and in which form. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Goal } from "./markdown.ts";

/** Where results go unless another directory is given. */
export const RESULTS = join(import.meta.dirname, "results");

/** What came out, for `<name>.json` and standard output; with its tables as Markdown and its chart. */
export interface Findings {
  readonly lines: readonly unknown[];
  readonly goals: readonly Goal[];
  readonly markdown: string;
  readonly svg: string;
}

/** Writes `<name>.json`, with the samples, `<name>.md` and `<name>.svg` into the directory. */
export async function keepFindings(
  directory: string,
  name: string,
  { lines, goals, markdown, svg }: Findings,
  samples: unknown,
): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, `${name}.json`), `${JSON.stringify({ lines, goals, samples }, null, 2)}\n`);
  await writeFile(join(directory, `${name}.md`), markdown);
  await writeFile(join(directory, `${name}.svg`), svg);
}

/** Prints the JSON without the samples. */
export function printFindings({ lines, goals }: Findings): void {
  process.stdout.write(`${JSON.stringify({ lines, goals }, null, 2)}\n`);
}
