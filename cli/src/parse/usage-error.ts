import { DrayError } from "@drayage/shared/errors/dray-error.ts";

/** What was typed cannot be understood; exit code 2. */
export function usageError(message: string, remedy: string): DrayError {
  return new DrayError("BAD_REQUEST", message, { remedy });
}
