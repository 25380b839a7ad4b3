/** The frame of a benchmark that needs a lab. */
import { labCommand, TestLab } from "../harness/test-lab.ts";

const OWN_LAB = "bench";

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
