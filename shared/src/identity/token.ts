/**
 * Join tokens: `DRAY1-<fingerprint of the CA>-<secret>`, both base64url.
 * The fingerprint lets the newcomer know the cluster before it says the
 * secret; the cluster keeps only the secret's digest.
 */
import { createHash, randomBytes } from "node:crypto";
import { DrayError } from "../errors/dray-error.ts";

export interface JoinToken {
  /** SHA-256 of the CA certificate. */
  readonly fingerprint: Buffer;
  readonly secret: string;
}

const FINGERPRINT_BYTES = 32;
const SECRET_BYTES = 24;
/** 32 and 24 bytes make 43 and 32 characters, so the hyphens inside them do no harm. */
const TOKEN = /^DRAY1-([A-Za-z0-9_-]{43})-([A-Za-z0-9_-]{32})$/;

export function makeSecret(): string {
  return randomBytes(SECRET_BYTES).toString("base64url");
}

export function makeToken(fingerprint: Buffer, secret = makeSecret()): string {
  const token = `DRAY1-${fingerprint.toString("base64url")}-${secret}`;
  if (fingerprint.length !== FINGERPRINT_BYTES || !TOKEN.test(token))
    throw new TypeError("fingerprint or secret of a wrong length");
  return token;
}

/** BAD_TOKEN if the text is no token; whether it is a good one only the cluster knows. */
export function parseToken(text: string): JoinToken {
  const [, fingerprint, secret] = TOKEN.exec(text.trim()) ?? [];
  if (fingerprint === undefined || secret === undefined) {
    throw new DrayError("BAD_TOKEN", "this is no join token", {
      remedy: "Copy the whole line that `drayage pki token` printed; it begins with DRAY1-.",
    });
  }
  return { fingerprint: Buffer.from(fingerprint, "base64url"), secret };
}

/** What is kept of a secret: SHA-256, hexadecimal. */
export function secretDigest(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}
