/** How much memory a directory of images tells of. CRIU's own statistics do not say it of a dump with lazy pages: they begin anew when it serves them. */
import { MemoryImageReader } from "./memory-image-reader.ts";
import { PRESENT } from "./page-range.ts";

export interface PagesInImages {
  /** All pages, here or to be fetched. */
  readonly seenPages: number;
  /** Those whose content is in the images. */
  readonly writtenPages: number;
}

/** Throws CORRUPT_STREAM. */
export async function pagesInImages(directory: string): Promise<PagesInImages> {
  const reader = await MemoryImageReader.open(directory);
  let seenPages = 0;
  let writtenPages = 0;
  for (const image of await reader.images()) {
    const { ranges } = await reader.pagemap(image);
    for (const { pages, flags } of ranges) {
      seenPages += pages;
      if ((flags & PRESENT) !== 0) writtenPages += pages;
    }
    ranges.letGo();
  }
  return { seenPages, writtenPages };
}
