/** Brings a lab up for as long as something needs it. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../deploy/lab/src/host/run.ts";
import { labsDirectory, REPOSITORY } from "../../deploy/lab/src/lab/layout.ts";
import type { NodeKind } from "../../deploy/lab/src/node/driver.ts";
import { labCommand, type Suite } from "../harness/test-lab.ts";

export interface LabPart {
  readonly name: string;
  readonly suite: Suite;
  readonly kind: NodeKind;
  readonly nodes: number;
  /** Nodes get the package that has the named fault points. */
  readonly faults: boolean;
  /** Leave the lab up afterwards, to look into it. */
  readonly keep: boolean;
}

/** Their processors are emulated. */
const VM_UP_DEADLINE_MS = 3_600_000;
const DOWN_DEADLINE_MS = 120_000;

/** Runs `body` in a fresh lab of that name, and takes the lab away whatever happens. */
export async function withLab<T>(part: LabPart, signal: AbortSignal, body: () => Promise<T>): Promise<T> {
  const { name, suite, kind, nodes, faults, keep } = part;
  if (!keep) await down(name);
  try {
    const product = faults ? ["--package", await faultyPackage(signal)] : [];
    const asked = ["--suite", suite, "--kind", kind, "--nodes", String(nodes)];
    const patience = kind === "vm" ? { deadlineMs: VM_UP_DEADLINE_MS } : {};
    await labCommand(["up", "--name", name, ...asked, ...product], { signal, ...patience });
    return await body();
  } finally {
    // Not under the signal: this is what has to happen after an interruption.
    if (!keep) await down(name);
  }
}

/** Runs tests that bring up labs of their own, and takes those away that an interruption has left. */
export async function withoutStrayLabs<T>(body: () => Promise<T>): Promise<T> {
  const before = new Set(await labs());
  try {
    return await body();
  } finally {
    for (const name of await labs()) if (!before.has(name)) await down(name);
  }
}

async function labs(): Promise<string[]> {
  try {
    return await readdir(labsDirectory());
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
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
