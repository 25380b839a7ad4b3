/** What a test sets up on a node, taken back when the test ends, however it ends. */
import { afterEach } from "vitest";

export type Undo = (step: () => Promise<unknown>) => void;

/**
 * After each test of the suite the steps given in it are done: last first, each whatever becomes of the others, and all
 * before what the stage itself does if the stage was made before.
 */
export function undoAfterEach(): Undo {
  const steps: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    const errors: unknown[] = [];
    for (const step of steps.splice(0).reverse()) await step().catch((error: unknown) => errors.push(error));
    if (errors.length > 0) throw new AggregateError(errors, errors.map(String).join("; "));
  });
  return (step) => void steps.push(step);
}
