/** RFC 3339 in UTC; empty for a time that is not known. */
export function timestamp(epochMs: number): string {
  return epochMs > 0 ? new Date(epochMs).toISOString() : "";
}
