/** Maps what goes wrong on the way to Docker onto the closed set of reasons. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

const UNREACHABLE = new Set(["ECONNREFUSED", "ENOENT", "ECONNRESET", "EPIPE", "EACCES", "ENOTSOCK"]);

interface ModemError {
  readonly statusCode?: number;
  readonly code?: string;
  readonly json?: { readonly message?: string } | null;
}

/**
 * @param operation what was asked, for the message, for example "inspect container 4f1d2c3b4a59"
 * @param deadline the signal of the call's deadline
 * @param caller the caller's own signal
 */
export function dockerError(
  thrown: unknown,
  operation: string,
  deadline?: AbortSignal,
  caller?: AbortSignal,
): DrayError {
  if (thrown instanceof DrayError) return thrown;
  if (caller?.aborted === true) {
    return new DrayError("CANCELLED", `Docker: ${operation} was cancelled`, { cause: thrown });
  }
  if (deadline?.aborted === true) {
    return new DrayError("TIMEOUT", `Docker did not answer in time: ${operation}`, {
      remedy: "Look whether Docker hangs on that node: `docker ps`, `journalctl -u docker`.",
      cause: thrown,
    });
  }
  const error: Error & ModemError = thrown instanceof Error ? thrown : new Error(String(thrown));
  if (error.statusCode !== undefined) {
    const words = error.json?.message ?? error.message;
    const reason = error.statusCode === 404 ? "NOT_FOUND" : "DOCKER_ERROR";
    return new DrayError(reason, `Docker: ${operation}: ${words}`, { cause: thrown });
  }
  if (error.code !== undefined && UNREACHABLE.has(error.code)) {
    return new DrayError("DOCKER_UNAVAILABLE", `Docker cannot be reached: ${operation}: ${error.message}`, {
      cause: thrown,
    });
  }
  return new DrayError("DOCKER_ERROR", `Docker: ${operation}: ${error.message}`, { cause: thrown });
}
