import { DrayError } from "@drayage/shared/errors/dray-error.ts";

/** A message that the server must have put into its answer. */
export function found<T>(value: T | undefined, what: string): T {
  if (value === undefined) {
    throw new DrayError("INTERNAL", `the coordinator answered without ${what}`, {
      remedy: "Install the same version of Drayage here and there.",
    });
  }
  return value;
}
