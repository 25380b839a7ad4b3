/** Writes a memory stream as CRIU's images. */
import type { Readable } from "node:stream";
import { MemoryImageWriter } from "../memory-image/memory-image-writer.ts";
import { type ImageId, LAZY, PAGE_BYTES, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamDecoder } from "../memory-stream/decoder.ts";

/** Who gives chunks and may use their memory again; see IncomingContent. */
interface Recycler {
  recycle(chunk: Buffer): void;
}

export interface ReceivedMemory {
  /** Of pages that came with their content. */
  readonly bytes: number;
  /** Of pages that have the content of others. */
  readonly repeatedBytes: number;
  /** Images of which pages are in those of rounds before. */
  readonly inParent: readonly ImageId[];
}

export interface ReceiveOptions {
  /** As MemoryImageWriter asks. */
  readonly pagesDirectory: (writtenBytes: number) => Promise<string | null>;
  /** What comes is the final dump, of which CRIU looks at some pages in no other round. */
  readonly isFinal: boolean;
}

/**
 * Into a directory whose link to a parent, if it has one, is there. What changed pages were in the rounds before is lost.
 * Throws CORRUPT_STREAM, NO_SPACE; what was written then is to be thrown away, with the rounds before.
 */
export async function receiveMemory(
  content: Readable,
  directory: string,
  { pagesDirectory, isFinal }: ReceiveOptions,
): Promise<ReceivedMemory> {
  const decoder = new MemoryStreamDecoder();
  const overwrites = isFinal ? mayLieInAnyRound : () => true;
  const writer = await MemoryImageWriter.create(directory, { pagesDirectory, overwrites });
  const recycler = "recycle" in content ? (content as Readable & Recycler) : null;
  let bytes = 0;
  let repeatedBytes = 0;
  try {
    for await (const chunk of content as AsyncIterable<Buffer>) {
      for (const event of decoder.decode(chunk)) {
        if (event.kind === "content") writer.data(event.bytes);
        else if (event.kind === "range") {
          if ((event.flags & PRESENT) !== 0) bytes += event.pages * PAGE_BYTES;
          writer.entry(event);
        } else if (event.kind === "repeat") {
          repeatedBytes += event.pages * PAGE_BYTES;
          await writer.repeat(event, event.from);
        } else if (event.kind === "delta") {
          bytes += event.change.length;
          await writer.delta(event, event.change);
        } else if (event.kind === "open") await writer.open(event.image);
      }
      await writer.flush();
      recycler?.recycle(chunk);
    }
    decoder.finish();
    await writer.close();
    return { bytes, repeatedBytes, inParent: writer.inParent };
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

/**
 * Of a process CRIU reads some mappings from the final dump alone (FROM_THE_FINAL_DUMP in memory/mappings.ts), and would
 * take other pages for theirs. None of them can be left out of a restore, so what can be is in none of them.
 */
function mayLieInAnyRound({ kind }: ImageId, flags: number): boolean {
  return kind === "shared" || (flags & LAZY) !== 0;
}
