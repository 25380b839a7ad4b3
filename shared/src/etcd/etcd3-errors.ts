/** From what etcd3 throws to what a caller may conclude from it. */
import { isBrokenCircuitError } from "cockatiel";
import * as etcd3 from "etcd3";
import { DrayError } from "../errors/dray-error.ts";

/** Answers by which etcd says that it has not applied, and will not apply, the request. */
const REFUSALS = [
  etcd3.EtcdLeaseInvalidError,
  etcd3.EtcdPermissionDeniedError,
  etcd3.EtcdAuthenticationFailedError,
  etcd3.EtcdInvalidAuthTokenError,
  etcd3.GRPCInvalidArgumentError,
  etcd3.GRPCNotFoundError,
  etcd3.GRPCAlreadyExistsError,
  etcd3.GRPCResourceExhastedError,
  etcd3.GRPCFailedPreconditionError,
  etcd3.GRPCOutOfRangeError,
  etcd3.GRPCNotImplementedError,
  etcd3.GRPCUnauthenticatedError,
] as const;

export function isRefusal(thrown: unknown): boolean {
  return REFUSALS.some((kind) => thrown instanceof kind);
}

/** True if the request certainly never left this process: no connection could be had. */
export function wasNeverSent(thrown: unknown): boolean {
  if (isBrokenCircuitError(thrown)) return true;
  if (!(thrown instanceof etcd3.GRPCUnavailableError)) return false;
  return /No connection established|Name resolution failed|Channel closed before call started/.test(thrown.message);
}

/** The error of a call, by whether it was a write. */
export function toEtcdError(thrown: unknown, what: string, isWrite: boolean): DrayError {
  if (thrown instanceof DrayError) return thrown;
  if (isBrokenCircuitError(thrown)) {
    return new DrayError("ETCD_UNAVAILABLE", `etcd was not asked for ${what}: every endpoint has just failed`, {
      cause: thrown,
    });
  }
  const message = thrown instanceof Error ? thrown.message.split("\n", 1)[0] : String(thrown);
  if (isRefusal(thrown)) {
    const full = thrown instanceof etcd3.GRPCResourceExhastedError;
    return new DrayError(full ? "NO_SPACE" : "ETCD_UNAVAILABLE", `etcd refused ${what}: ${message}`, { cause: thrown });
  }
  if (isWrite && !wasNeverSent(thrown)) {
    return new DrayError("OUTCOME_UNKNOWN", `etcd did not say whether ${what} was applied: ${message}`, {
      cause: thrown,
    });
  }
  return new DrayError("ETCD_UNAVAILABLE", `etcd did not answer to ${what}: ${message}`, { cause: thrown });
}
