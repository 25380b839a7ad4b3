/** What a certificate says, for people. Pure. */
import { X509Certificate } from "node:crypto";
import { parseAlternativeNames, parsePeerUri, type Peer } from "./peer.ts";

export interface CertificateSummary {
  /** Null for the CA and for certificates of others. */
  readonly peer: Peer | null;
  readonly isAuthority: boolean;
  /** DNS names and IP addresses, in order of text. */
  readonly alternativeNames: readonly string[];
  readonly expiresAtMs: number;
  /** SHA-256, hexadecimal. */
  readonly fingerprint: string;
}

/** Throws what node:crypto throws for a text that is no certificate. */
export function summarize(certPem: string): CertificateSummary {
  const certificate = new X509Certificate(certPem);
  const names = parseAlternativeNames(certificate.subjectAltName ?? "") ?? [];
  const uri = names.find((name) => name.type === "URI" && name.value.startsWith("drayage:"))?.value ?? "";
  return {
    peer: parsePeerUri(uri),
    isAuthority: certificate.ca,
    alternativeNames: names
      .filter((name) => name.type !== "URI")
      .map((name) => name.value)
      .sort(),
    expiresAtMs: certificate.validToDate.getTime(),
    fingerprint: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
  };
}

/** Whether one certificate was signed with the key of the other. */
export function isSignedBy(certPem: string, caPem: string): boolean {
  return new X509Certificate(certPem).verify(new X509Certificate(caPem).publicKey);
}
