/** Durations as people write them: 300ms, 1.5s, 10m, 1h30m. */
import { usageError } from "./usage-error.ts";

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;
/** What a uint32 of milliseconds holds: about 49 days. */
const MAX_MS = 2 ** 32 - 1;

/** Milliseconds, rounded, at least 1. Throws BAD_REQUEST for anything else than a positive duration with units. */
export function parseDurationMs(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  const isWhole = parts.length > 0 && parts.map(([part]) => part).join("") === text;
  const milliseconds = Math.round(parts.reduce((sum, [, number, unit]) => sum + Number(number) * unitMs(unit), 0));
  if (!isWhole) throw usageError(`"${text}" is not a duration`, "Write it with units: 300ms, 1.5s, 10m, 1h30m.");
  if (milliseconds < 1) throw usageError(`a duration of "${text}" is too short`, "It must be 1ms at least.");
  if (milliseconds > MAX_MS) throw usageError(`a duration of "${text}" is too long`, "It must be 1193h at most.");
  return milliseconds;
}

function unitMs(unit: string | undefined): number {
  return unit === "ms" || unit === "s" || unit === "m" || unit === "h" ? UNIT_MS[unit] : Number.NaN;
}
