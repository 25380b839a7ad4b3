/**
 * Which of the images that CRIU has written travel as a memory stream, the others as the files that they are.
 *
 * Without a post-copy all memory is one stream. In a post-copy only large images are: rounds may have had most of them,
 * and a stream has all lanes. The many small ones of processes whose memory is fetched go faster as files, and CRIU
 * restores them faster if it need not look for each of them in every round.
 */
import { isMemoryImage } from "../criu/image-names.ts";
import { largeImages } from "../memory-image/large-images.ts";
import type { ImageId } from "../memory-image/page-range.ts";

/** To judge them, and to read them through the rounds, takes as long as to send so much over one Gbit/s: about 30 ms. */
const WORTH_STREAMING_BYTES = 2 ** 22;

export interface StreamedImages {
  /** Null: all that there are. */
  readonly images: readonly ImageId[] | null;
  /** The most that their content can be; undefined if they have all memory. */
  readonly mostBytes: number | undefined;
  /** Whether this file is of one of them. */
  includes(name: string): boolean;
}

/** Of a dump that is complete. Throws CORRUPT_STREAM. */
export async function streamedImages(directory: string, postCopy: boolean): Promise<StreamedImages> {
  if (!postCopy) return { images: null, mostBytes: undefined, includes: isMemoryImage };
  const large = await largeImages(directory, WORTH_STREAMING_BYTES);
  const files = new Set(large.flatMap((each) => each.files));
  return {
    images: large.map(({ image }) => image),
    mostBytes: large.reduce((sum, { bytes }) => sum + bytes, 0),
    includes: (name) => files.has(name),
  };
}
