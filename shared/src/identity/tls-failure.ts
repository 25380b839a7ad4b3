/** What errors of node:tls mean for identity. */
import { DrayError } from "../errors/dray-error.ts";

const OTHER_CA = new Set([
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
]);

/** The DrayError behind a failed TLS connection, or null if certificates are not to blame. */
export function tlsFailure(error: Error): DrayError | null {
  if (error instanceof DrayError) return error;
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  if (OTHER_CA.has(code)) {
    return new DrayError("UNAUTHENTICATED", "the peer's certificate comes from another CA", {
      remedy: "Issue both certificates from the same CA: `drayage pki show` on both hosts.",
      cause: error,
    });
  }
  if (code === "CERT_HAS_EXPIRED") {
    return new DrayError("UNAUTHENTICATED", "the peer's certificate has expired", {
      remedy: "Renew it with `drayage pki issue` or `drayage join`, and check the clocks of both hosts.",
      cause: error,
    });
  }
  if (code === "CERT_NOT_YET_VALID") {
    return new DrayError("UNAUTHENTICATED", "the peer's certificate is not valid yet", {
      remedy: "Check the clocks of both hosts.",
      cause: error,
    });
  }
  if (/^ERR_SSL_.*(?:CERTIFICATE|UNKNOWN_CA)/.test(code)) {
    return new DrayError("UNAUTHENTICATED", `the peer refuses our certificate (${code})`, {
      remedy: "Check that ours has not expired and comes from the peer's CA: `drayage pki show`.",
      cause: error,
    });
  }
  return null;
}
