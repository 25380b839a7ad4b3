/** What a restore leaves out: private memory that the copy is to get when it runs. */
import { MemoryImageReader } from "../memory-image/memory-image-reader.ts";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { contentOf } from "../memory-image/image-chain.ts";
import { describeRange, LAZY } from "../memory-image/page-range.ts";
import type { PageRange } from "./protocol.ts";

/**
 * By process, those without any included. Throws CORRUPT_STREAM; with `inImages` also if the images and those that they
 * follow do not have all of it.
 */
export async function lazyRanges(imageDirectory: string, inImages: boolean): Promise<Map<number, PageRange[]>> {
  const reader = await MemoryImageReader.open(imageDirectory);
  const byTask = new Map<number, PageRange[]>();
  for (const image of await reader.images()) {
    if (image.kind !== "task") continue;
    const loaded = await reader.load(image);
    try {
      const ranges = loaded.ranges.filter(({ flags }) => (flags & LAZY) !== 0);
      const lacking = inImages ? ranges.find((range) => contentOf(loaded.segments, range) === null) : undefined;
      if (lacking !== undefined) {
        throw new DrayError("CORRUPT_STREAM", `${describeRange(lacking)} of process ${image.id} is in no image`);
      }
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
