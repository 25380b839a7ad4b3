/** Writes a memory stream as CRIU's images. */
import type { Readable } from "node:stream";
import { MemoryImageWriter } from "../memory-image/memory-image-writer.ts";
import { PAGE_BYTES, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamDecoder } from "../memory-stream/decoder.ts";

/** Who gives chunks and may use their memory again; see IncomingContent. */
interface Recycler {
  recycle(chunk: Buffer): void;
}

/**
 * Into a directory whose link to a parent, if it has one, is there. Returns the bytes of pages that came. Throws CORRUPT_STREAM;
 * what was written then is to be thrown away.
 */
export async function receiveMemory(content: Readable, directory: string): Promise<number> {
  const decoder = new MemoryStreamDecoder();
  const writer = await MemoryImageWriter.create(directory, { sync: false });
  const recycler = "recycle" in content ? (content as Readable & Recycler) : null;
  let bytes = 0;
  try {
    for await (const chunk of content as AsyncIterable<Buffer>) {
      for (const event of decoder.decode(chunk)) {
        if (event.kind === "content") writer.data(event.bytes);
        else if (event.kind === "range") {
          if ((event.flags & PRESENT) !== 0) bytes += event.pages * PAGE_BYTES;
          writer.entry(event);
        } else if (event.kind === "repeat") {
          await writer.repeat(event, event.from);
        } else if (event.kind === "open") {
          await writer.open(event.image);
        }
      }
      await writer.flush();
      recycler?.recycle(chunk);
    }
    decoder.finish();
    await writer.close();
    return bytes;
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}
