/** Where a round of memory is, for people. Pure. */

export interface RoundState {
  /** From 1. */
  readonly round: number;
  readonly sentBytes: number;
  /** Looked at so far, and how much there will be, as far as that is known. */
  readonly seenBytes: number;
  readonly memoryBytes: number;
  readonly elapsedMs: number;
}

/** Before that a rate says nothing. */
const TELLING_MS = 500;

/** "round 2, 12.3 MB sent at 310 MB/s, about 4 s left". */
export function roundText({ round, sentBytes, seenBytes, memoryBytes, elapsedMs }: RoundState): string {
  const megabytes = sentBytes / 1e6;
  const sent = `round ${round}, ${megabytes.toFixed(megabytes < 10 ? 1 : 0)} MB sent`;
  if (elapsedMs < TELLING_MS || seenBytes === 0) return sent;
  const rate = ` at ${((1000 * megabytes) / elapsedMs).toFixed(0)} MB/s`;
  if (memoryBytes <= seenBytes) return sent + rate;
  const leftMs = (elapsedMs * (memoryBytes - seenBytes)) / seenBytes;
  return `${sent}${rate}, about ${Math.max(1, Math.round(leftMs / 1000))} s left`;
}
