/**
 * Whether a copy is to run before its memory is in its place, although all of it has come: CRIU would read it from the
 * images first, about a second for each gigabyte on a machine of 2020. A fault server brings it instead, from the same
 * images, on this host alone: the source is of no concern.
 */
import type { HostFactsSource } from "../host-facts/host-facts.ts";

/** Less than that CRIU reads in the time that the detour costs. */
const WORTH_IT_BYTES = 128 * 2 ** 20;
/**
 * Of processes that were forked from one another, CRIU restores what they still share as shared; brought page by page,
 * each would have its own of everything, more than the container may have, and the host had.
 */
const MOST_REPEATED_SHARE = 0.05;

export async function shouldPlaceLater(
  hostFacts: HostFactsSource,
  what: {
    /** The copy fetches it from the source anyway. */
    readonly postCopy: boolean;
    /** Before the switch: only then has most of it come when the restore begins. */
    readonly hadRounds: boolean;
    readonly memoryBytes: number;
    /** Docker's, of memory and swap; null without. */
    readonly limitBytes: number | null;
    /** How much of what came in the first round has the content of something else of it: 0 to 1. */
    readonly repeatedShare: number;
  },
): Promise<boolean> {
  if (what.postCopy || !what.hadRounds || what.memoryBytes < WORTH_IT_BYTES) return false;
  // Repeated pages are found up to about 2 GiB apart, and the limit holds for any: beyond it the copy would be killed.
  if (what.repeatedShare > MOST_REPEATED_SHARE || what.memoryBytes > (what.limitBytes ?? Infinity)) return false;
  const { facts } = await hostFacts.current();
  return facts.criuFeatures.includes("uffd-noncoop");
}
