/** One-time tokens of transfers. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** 256 random bits, base64url. */
export function createTransferToken(): string {
  return randomBytes(32).toString("base64url");
}

/** Compares in a time that says nothing about where or whether the two differ, nor about the length. */
export function sameToken(given: string, expected: string): boolean {
  return timingSafeEqual(digest(given), digest(expected));
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
