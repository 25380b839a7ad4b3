/** Brings a lab up for as long as something needs it. */
import { join } from "node:path";
import { run } from "../../deploy/lab/src/host/run.ts";
import { REPOSITORY } from "../../deploy/lab/src/lab/layout.ts";
import { labCommand, type Suite } from "../harness/test-lab.ts";

export interface LabPart {
  readonly name: string;
  readonly suite: Suite;
  /** Nodes get the package that has the named fault points. */
  readonly faults: boolean;
  /** Leave the lab up afterwards, to look into it. */
  readonly keep: boolean;
}

const DOWN_DEADLINE_MS = 120_000;

/** Runs `body` in a fresh lab of that name, and takes the lab away whatever happens. */
export async function withLab<T>(part: LabPart, signal: AbortSignal, body: () => Promise<T>): Promise<T> {
  const { name, suite, faults, keep } = part;
  if (!keep) await down(name);
  try {
    const product = faults ? ["--package", await faultyPackage(signal)] : [];
    await labCommand(["up", "--name", name, "--suite", suite, "--nodes", "3", ...product], { signal });
    return await body();
  } finally {
    // Not under the signal: this is what has to happen after an interruption.
    if (!keep) await down(name);
  }
}

async function down(name: string): Promise<void> {
  await labCommand(["down", "--name", name], { deadlineMs: DOWN_DEADLINE_MS });
}

async function faultyPackage(signal: AbortSignal): Promise<string> {
  const build = [process.execPath, join(REPOSITORY, "deploy/build/build.ts"), "--faults"];
  const output = await run(build, { cwd: REPOSITORY, signal, label: "building the package with fault points" });
  return output.trim().split("\n").at(-1) ?? "";
}
