/** The frame of a benchmark that needs a lab: where it runs, and where its results go. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { labCommand, TestLab } from "../harness/test-lab.ts";

const OWN_LAB = "bench";

/** Where results go unless another directory is given. */
export const RESULTS = join(import.meta.dirname, "results");

/** What came out, for `<name>.json` and standard output; with its tables as Markdown. */
export interface Findings {
  readonly lines: readonly unknown[];
  readonly goals: readonly unknown[];
  readonly markdown: string;
}

/** In the lab of that name, or without one in a lab of its own, which is brought up and taken down again. */
export async function inLab(name: string | undefined, benchmark: (lab: TestLab) => Promise<void>): Promise<void> {
  if (name !== undefined) return await benchmark(await TestLab.open(name));
  try {
    await labCommand(["up", "--name", OWN_LAB]);
    await benchmark(await TestLab.open(OWN_LAB));
  } finally {
    await labCommand(["down", "--name", OWN_LAB]);
  }
}

/** Writes `<name>.json`, with the samples, and `<name>.md` into the directory. */
export async function keepFindings(
  directory: string,
  name: string,
  { lines, goals, markdown }: Findings,
  samples: unknown,
): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, `${name}.json`), `${JSON.stringify({ lines, goals, samples }, null, 2)}\n`);
  await writeFile(join(directory, `${name}.md`), markdown);
}

/** Prints the JSON without the samples. */
export function printFindings({ lines, goals }: Findings): void {
  process.stdout.write(`${JSON.stringify({ lines, goals }, null, 2)}\n`);
}
