/** Why a connection did not come about, in words instead of those of the transport. Pure. */
import type { DrayError } from "../errors/dray-error.ts";

const CAUSES: readonly (readonly [RegExp, string])[] = [
  [/\bECONNREFUSED\b/, "connection refused"],
  [/\b(EHOSTUNREACH|ENETUNREACH)\b/, "no route to it"],
  [/\b(ENOTFOUND|EAI_AGAIN)\b/, "the name cannot be resolved"],
  [/\bECONNRESET\b/, "it closed the connection"],
  [/\bETIMEDOUT\b/, "no answer"],
];

export interface Failure {
  /** "host:port". */
  readonly address: string;
  readonly error: DrayError;
}

/** What gRPC, or the deadline, has said of one connection. */
export function connectionFailure({ reason, message }: DrayError): string {
  if (reason === "TIMEOUT") return "no answer";
  return CAUSES.find(([pattern]) => pattern.test(message))?.[1] ?? message.replace(/^\d+ [A-Z_]+: /, "");
}

/** Of several addresses, each named once: "n1:7443, n2:7443: connection refused; n3:7443: no answer". */
export function tellFailures(failures: readonly Failure[]): string {
  const byMessage = Map.groupBy(failures, ({ error }) => error.message);
  return [...byMessage]
    .map(([message, same]) => `${same.map(({ address }) => address).join(", ")}: ${message}`)
    .join("; ");
}
