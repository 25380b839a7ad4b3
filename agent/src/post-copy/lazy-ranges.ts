/** What a restore leaves out: private memory that the copy is to get when it runs. */
import { MemoryImageReader } from "../memory-image/memory-image-reader.ts";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { describeRange, type ImageId, LAZY, PAGE_BYTES } from "../memory-image/page-range.ts";
import type { RangeList } from "../memory-image/range-list.ts";
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
    if (inImages) await demandContent(reader, image);
    const { ranges } = await reader.pagemap(image);
    byTask.set(image.id, joined(ranges));
    ranges.letGo();
  }
  return byTask;
}

async function demandContent(reader: MemoryImageReader, image: ImageId): Promise<void> {
  const loaded = await reader.load(image);
  try {
    for (const range of loaded.ranges) {
      if ((range.flags & LAZY) !== 0 && !loaded.segments.hasContent(range))
        throw new DrayError("CORRUPT_STREAM", `${describeRange(range)} of process ${image.id} is in no image`);
    }
  } finally {
    await loaded.close();
  }
}

/** The lazy ones. What differs in where it comes from is one range all the same. */
function joined(listed: RangeList): PageRange[] {
  const ranges: PageRange[] = [];
  for (const { vaddr: start, pages, flags } of listed) {
    if ((flags & LAZY) === 0) continue;
    const last = ranges.at(-1);
    if (last !== undefined && last.start + last.pages * PAGE_BYTES === start) {
      ranges[ranges.length - 1] = { start: last.start, pages: last.pages + pages };
    } else ranges.push({ start, pages });
  }
  return ranges;
}
