/** DrayError ↔ gRPC status with metadata. The one mapping, both ways. */
import { Metadata, status, type StatusObject } from "@grpc/grpc-js";
import { DrayError, drayErrorFromParts } from "../errors/dray-error.ts";
import type { Reason } from "../errors/reason.ts";
import { Finding, Findings } from "../gen/drayage/common/v1/finding.ts";
import { FINDINGS_METADATA, NODE_METADATA, REASON_METADATA, REMEDY_METADATA } from "./protocol.ts";

/** Of the 64 KiB that a client takes, next to a message of the same length. */
const FINDINGS_BYTES = 16 * 1024;

/** What a server sends for an error. `node` stands in when the error names none. */
export function statusOf(error: DrayError, node: string): StatusObject {
  const metadata = new Metadata();
  metadata.set(REASON_METADATA, error.reason);
  // Header values are ASCII; percent encoding carries the rest.
  metadata.set(REMEDY_METADATA, encodeURIComponent(error.remedy));
  metadata.set(NODE_METADATA, encodeURIComponent(error.node === "" ? node : error.node));
  const findings = thatFit(error.findings);
  if (findings.length > 0) metadata.set(FINDINGS_METADATA, Buffer.from(Findings.encode({ findings }).finish()));
  return { code: error.mapping.grpcStatus, details: error.message, metadata };
}

/** What a peer takes of headers is limited; the message, which says the same in words, is there in any case. */
function thatFit(findings: readonly Finding[]): Finding[] {
  let room = FINDINGS_BYTES;
  return findings.filter((finding) => {
    room -= Finding.encode(finding).finish().length;
    return room >= 0;
  });
}

/** What a failed call means to the client. `unavailable` is the reason when nobody answers at the other end. */
export function errorOf(
  failure: { readonly code: status; readonly details: string; readonly metadata: Metadata; readonly cause?: unknown },
  unavailable: Reason,
): DrayError {
  const text = (key: string) => failure.metadata.get(key).map(String)[0] ?? "";
  const reason = text(REASON_METADATA);
  if (reason !== "") {
    return drayErrorFromParts(reason, failure.details, {
      remedy: decode(text(REMEDY_METADATA)),
      node: decode(text(NODE_METADATA)),
      findings: findingsOf(failure.metadata),
    });
  }
  const known = SILENT.has(failure.code) ? unavailable : (REASON_OF_STATUS[failure.code] ?? "INTERNAL");
  return new DrayError(known, failure.details, { cause: failure.cause ?? failure });
}

/**
 * Nobody answers. CANCELLED is among them: our own cancelling is known before
 * it comes to this, so it is a server that went away with the call open.
 */
const SILENT: ReadonlySet<status> = new Set([status.UNAVAILABLE, status.CANCELLED]);

/** For statuses that grpc-js makes itself, without our metadata. */
const REASON_OF_STATUS: Partial<Record<status, Reason>> = {
  [status.DEADLINE_EXCEEDED]: "TIMEOUT",
  [status.UNIMPLEMENTED]: "PROTOCOL_MISMATCH",
  [status.UNAUTHENTICATED]: "UNAUTHENTICATED",
  [status.PERMISSION_DENIED]: "PERMISSION_DENIED",
  [status.INVALID_ARGUMENT]: "BAD_REQUEST",
  [status.NOT_FOUND]: "NOT_FOUND",
};

/** None where they cannot be read: the message tells them, too. */
function findingsOf(metadata: Metadata): readonly Finding[] {
  const [encoded] = metadata.get(FINDINGS_METADATA);
  if (encoded === undefined || typeof encoded === "string") return [];
  try {
    return Findings.decode(encoded).findings;
  } catch {
    return [];
  }
}

function decode(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch (error) {
    if (error instanceof URIError) return value;
    throw error;
  }
}
