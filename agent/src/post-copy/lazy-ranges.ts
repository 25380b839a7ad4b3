/** What CRIU's images leave out: private memory that the copy is to fetch. */
import { MemoryImageReader } from "../memory-image/memory-image-reader.ts";
import { LAZY, PRESENT } from "../memory-image/page-range.ts";
import type { PageRange } from "./protocol.ts";

/** By process, those without any included. Throws CORRUPT_STREAM. */
export async function lazyRanges(imageDirectory: string): Promise<Map<number, PageRange[]>> {
  const reader = await MemoryImageReader.open(imageDirectory);
  const byTask = new Map<number, PageRange[]>();
  for (const image of await reader.images()) {
    if (image.kind !== "task") continue;
    const loaded = await reader.load(image);
    try {
      const ranges = loaded.ranges.filter(({ flags }) => (flags & (LAZY | PRESENT)) === LAZY);
      byTask.set(
        image.id,
        ranges.map(({ vaddr, pages }) => ({ start: vaddr, pages })),
      );
    } finally {
      await loaded.close();
    }
  }
  return byTask;
}
