/** The frame of a benchmark that needs a lab. */
import { labCommand, TestLab } from "../harness/test-lab.ts";

const OWN_LAB = "bench";

/** What `lab up` is told beside the name, and how long it may take. */
export interface LabKind {
  readonly options: readonly string[];
  readonly upDeadlineMs?: number;
}

const CONTAINERS: LabKind = { options: [] };
/** Two, each with a kernel of its own that notes what is written to; their processors are emulated. */
export const MACHINES: LabKind = {
  options: ["--kind", "vm", "--nodes", "2", "--suite", "trixie"],
  upDeadlineMs: 3_600_000,
};

/** In the lab of that name, or without one in a lab of its own, which is brought up and taken down again. */
export async function inLab(
  name: string | undefined,
  benchmark: (lab: TestLab) => Promise<void>,
  { options, upDeadlineMs }: LabKind = CONTAINERS,
): Promise<void> {
  if (name !== undefined) return await benchmark(await TestLab.open(name));
  try {
    const patience = upDeadlineMs === undefined ? {} : { deadlineMs: upDeadlineMs };
    await labCommand(["up", "--name", OWN_LAB, ...options], patience);
    await benchmark(await TestLab.open(OWN_LAB));
  } finally {
    await labCommand(["down", "--name", OWN_LAB]);
  }
}
