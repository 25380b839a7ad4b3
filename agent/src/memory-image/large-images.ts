/** Which images have much content. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { MemoryImageReader } from "./memory-image-reader.ts";
import type { ImageId } from "./page-range.ts";
import { pagemapName, pagesName } from "./pagemap-image.ts";

export interface LargeImage {
  readonly image: ImageId;
  /** Of its content. */
  readonly bytes: number;
  /** Names of the files that it is. */
  readonly files: readonly string[];
}

/**
 * Of a directory, those with at least so much. Looks at the sizes first: of hundreds of processes hardly any has much.
 * Throws CORRUPT_STREAM.
 */
export async function largeImages(directory: string, leastBytes: number): Promise<LargeImage[]> {
  const sizes = new Map<string, number>();
  for (const name of await readdir(directory)) {
    if (!name.startsWith("pages-")) continue;
    const { size } = await stat(join(directory, name));
    if (size >= leastBytes) sizes.set(name, size);
  }
  const found: LargeImage[] = [];
  if (sizes.size === 0) return found;
  const reader = await MemoryImageReader.open(directory);
  for (const image of await reader.images()) {
    if (found.length === sizes.size) break;
    const { pagesId, ranges } = await reader.pagemap(image);
    ranges.letGo();
    const pages = pagesName(pagesId);
    const bytes = sizes.get(pages);
    if (bytes !== undefined) found.push({ image, bytes, files: [pagemapName(image), pages] });
  }
  return found;
}
