/**
 * What the kernel writes into a process by itself. It tells each thread on which processor it runs, in its struct rseq
 * (include/uapi/linux/rseq.h, aligned to its size): cpu_id_start and cpu_id, and node_id and mm_cid. CRIU's parasite
 * lets it run between two dumps of a process that stands still.
 */
const RSEQ_BYTES = 32;

/** Whether that may be a byte of these, by its address or its place in an image of pages. */
export function isWrittenByKernel(place: number): boolean {
  const offset = place % RSEQ_BYTES;
  return offset < 8 || (offset >= 20 && offset < 28);
}

/** In how many such structures these places would be. */
export function rseqCount(places: readonly number[]): number {
  return new Set(places.map((place) => Math.floor(place / RSEQ_BYTES))).size;
}
