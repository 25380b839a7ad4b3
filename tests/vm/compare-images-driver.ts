/**
 * Run inside a node: compares the memory in two directories of CRIU's images, each read through its parents. Tells on
 * stdout how many pages there are, and where they differ.
 *
 *   compare-images-driver ONE OTHER
 */
import { MemoryImageReader } from "../../agent/src/memory-image/memory-image-reader.ts";
import { type ImageId, PAGE_BYTES } from "../../agent/src/memory-image/page-range.ts";

export interface Comparison {
  /** Pages that both have. */
  readonly pages: number;
  /** What only one of them has, in words. */
  readonly missing: readonly string[];
  /** Of them, those that differ. */
  readonly differingPages: number;
  /** Of bytes that differ, the first addresses. */
  readonly differing: readonly number[];
}

const MOST_TOLD = 1000;

const [one = "", other = ""] = process.argv.slice(2);

async function pagesOf(reader: MemoryImageReader, image: ImageId): Promise<Map<number, Buffer>> {
  const loaded = await reader.load(image);
  const pages = new Map<number, Buffer>();
  for (const { vaddr, pages: count } of loaded.ranges) {
    const content = Buffer.alloc(count * PAGE_BYTES);
    await loaded.read(vaddr, content);
    for (let at = 0; at < content.length; at += PAGE_BYTES)
      pages.set(vaddr + at, content.subarray(at, at + PAGE_BYTES));
  }
  await loaded.close();
  return pages;
}

const named = ({ kind, id }: ImageId) => `${kind} ${id}`;
const readers = await Promise.all([one, other].map((directory) => MemoryImageReader.open(directory)));
const [ofOne = [], ofOther = []] = await Promise.all(readers.map((reader) => reader.images()));
const missing: string[] = [];
const differing: number[] = [];
let pages = 0;
let differingPages = 0;
for (const image of [...ofOne, ...ofOther]) {
  const isInBoth = [ofOne, ofOther].every((images) => images.some((each) => named(each) === named(image)));
  if (!isInBoth) missing.push(named(image));
}
for (const image of ofOne) {
  if (missing.includes(named(image))) continue;
  const [here = new Map<number, Buffer>(), there = new Map<number, Buffer>()] = await Promise.all(
    readers.map((reader) => pagesOf(reader, image)),
  );
  for (const vaddr of new Set([...here.keys(), ...there.keys()])) {
    const [mine, theirs] = [here.get(vaddr), there.get(vaddr)];
    if (mine === undefined || theirs === undefined) missing.push(`${named(image)} at ${vaddr.toString(16)}`);
    else {
      pages++;
      if (mine.equals(theirs)) continue;
      differingPages++;
      for (let at = 0; at < PAGE_BYTES && differing.length < MOST_TOLD; at++)
        if (mine[at] !== theirs[at]) differing.push(vaddr + at);
    }
  }
}
console.log(JSON.stringify({ pages, missing, differingPages, differing } satisfies Comparison));
