/** Rates in bytes per second: 500M, 1.5G, 64KiB, 1gbit. */
import { usageError } from "./usage-error.ts";

const BYTES: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};

/**
 * Bytes per second. K, M, G are powers of 1000, Ki, Mi, Gi of 1024; "bit"
 * makes it bits; "B", "/s" and case do not matter. Throws BAD_REQUEST.
 */
export function parseBytesPerSecond(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([kmgt]?i?)(bit)|([kmgt]i?|)b?)(?:ps|\/s)?$/i.exec(text.trim());
  const unit = (match?.[3] ? match[2] : match?.[4])?.toLowerCase();
  const factor = unit === undefined ? undefined : BYTES[unit];
  if (!match || factor === undefined) throw refused(text);
  const rate = Math.floor((Number(match[1]) * factor) / (match[3] ? 8 : 1));
  if (rate < 1) throw usageError(`a rate of "${text}" moves nothing`, "It must be 1 byte per second at least.");
  if (!Number.isSafeInteger(rate)) throw refused(text);
  return rate;
}

function refused(text: string): Error {
  return usageError(`"${text}" is not a rate`, "Write bytes per second, 500M or 64MiB, or bits, 1gbit.");
}
