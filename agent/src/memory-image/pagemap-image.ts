/**
 * Codec of CRIU's pagemap images: images/pagemap.proto of its sources. Pure.
 *
 * ```
 *  0x54564319 │ 0x56084025 │ size │ pagemap_head │ size │ pagemap_entry │ size │ pagemap_entry │ …
 *                          └─ u32, little-endian as the magics; of the message behind it
 * ```
 *
 * The present pages of all entries, in their order, are the pages image whose number is in the head; it has no header.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { endOf, type ImageId, PAGE_BYTES, type PageRange, PARENT, PRESENT, rangeFault } from "./page-range.ts";
import { RangeList } from "./range-list.ts";
import { pushVarint, VarintReader } from "./varint.ts";

const COMMON_MAGIC = 0x54564319;
const PAGEMAP_MAGIC = 0x56084025;
const MAGICS_BYTES = 8;
const SIZE_BYTES = 4;
/** Of an entry with its size: address and count take two bytes each. */
const LEAST_ENTRY_BYTES = SIZE_BYTES + 4;
/** More than any message of these two kinds takes. */
const MESSAGE_LIMIT_BYTES = 64;
const MOST_PAGES_ID = 0xffff_ffff;
/**
 * Ranges are joined up to this, 1 GiB: CRIU up to 4.1 has a count of 32 bits in the image, and counts pages of a range in
 * an int here and there.
 */
const MOST_JOINED_PAGES = 2 ** 18;

/** Numbers of the fields of pagemap_entry; that of the head's only one is 1 as well. */
const VADDR = 1;
/** The only count up to CRIU 4.1; later ones write 0 here and read NR_PAGES. */
const COMPAT_NR_PAGES = 2;
/** Of dumps before CRIU 2. */
const IN_PARENT = 3;
const FLAGS = 4;
const NR_PAGES = 5;

const PAGEMAP_NAME = /^pagemap-(shmem-)?(0|[1-9]\d{0,15})\.img$/;

export interface Pagemap {
  /** Which pages image belongs to it. */
  readonly pagesId: number;
  /** Ascending, not overlapping. */
  readonly ranges: RangeList;
}

export function pagemapName({ kind, id }: ImageId): string {
  return kind === "task" ? `pagemap-${id}.img` : `pagemap-shmem-${id}.img`;
}

export function pagesName(pagesId: number): string {
  return `pages-${pagesId}.img`;
}

/** null if it is no name of a pagemap image. */
export function imageOfPagemapName(name: string): ImageId | null {
  const match = PAGEMAP_NAME.exec(name);
  if (match === null) return null;
  const id = Number(match[2]);
  return Number.isSafeInteger(id) ? { kind: match[1] === undefined ? "task" : "shared", id } : null;
}

/** What an image begins with. */
export function encodePagemapHead(pagesId: number): Buffer {
  const magics = Buffer.allocUnsafe(MAGICS_BYTES);
  magics.writeUInt32LE(COMMON_MAGIC, 0);
  magics.writeUInt32LE(PAGEMAP_MAGIC, 4);
  return Buffer.concat([magics, encodeMessage([[1, pagesId]])]);
}

/** One entry. Both counts are written, so that CRIU before and from 4.2 on reads the same. */
export function encodePagemapEntry({ vaddr, pages, flags }: PageRange): Buffer {
  return encodeMessage([
    [VADDR, vaddr],
    [COMPAT_NR_PAGES, pages],
    [FLAGS, flags],
    [NR_PAGES, pages],
  ]);
}

/** Both as one range; null if they are not adjacent and alike. CRIU's own restore joins such ranges when it reads. */
export function joinRanges(first: PageRange, second: PageRange): PageRange | null {
  const pages = first.pages + second.pages;
  const alike = first.flags === second.flags && endOf(first) === second.vaddr;
  return alike && pages <= MOST_JOINED_PAGES ? { ...first, pages } : null;
}

/** Throws DrayError CORRUPT_STREAM, also for what CRIU would not restore from. */
export function parsePagemap(image: Buffer): Pagemap {
  if (
    image.length < MAGICS_BYTES ||
    image.readUInt32LE(0) !== COMMON_MAGIC ||
    image.readUInt32LE(4) !== PAGEMAP_MAGIC
  ) {
    throw broken("it is none");
  }
  let pagesId: number | undefined;
  const ranges = new RangeList(Math.floor(image.length / LEAST_ENTRY_BYTES));
  let after = 0;
  for (let at = MAGICS_BYTES; at < image.length; ) {
    if (at + SIZE_BYTES > image.length) throw broken("cut short");
    const start = at + SIZE_BYTES;
    at = start + image.readUInt32LE(at);
    if (at > image.length) throw broken("cut short");
    if (at - start > MESSAGE_LIMIT_BYTES) throw broken(`an entry of ${at - start} bytes`);
    const fields = readFields(image, start, at);
    if (pagesId === undefined) {
      pagesId = headOf(fields);
      continue;
    }
    const range = rangeOf(fields);
    const fault = rangeFault(range, after);
    if (fault !== null) throw broken(fault);
    after = endOf(range);
    ranges.push(range);
  }
  if (pagesId === undefined) throw broken("it has no head");
  return { pagesId, ranges };
}

/** Bytes that the pages image of these ranges has. */
export function contentBytes(ranges: Iterable<PageRange>): number {
  let pages = 0;
  for (const range of ranges) if ((range.flags & PRESENT) !== 0) pages += range.pages;
  return pages * PAGE_BYTES;
}

function headOf(fields: readonly (number | undefined)[]): number {
  const pagesId = fields[1];
  if (pagesId === undefined || pagesId > MOST_PAGES_ID || fields.some((_value, number) => number > 1)) {
    throw broken("its head is none");
  }
  return pagesId;
}

function rangeOf(fields: readonly (number | undefined)[]): PageRange {
  const vaddr = fields[VADDR];
  const compatPages = fields[COMPAT_NR_PAGES];
  if (vaddr === undefined || compatPages === undefined) throw broken("an entry without address or count");
  const pages = fields[NR_PAGES] ?? compatPages;
  if (compatPages !== 0 && compatPages !== pages) throw broken(`an entry of ${compatPages} and of ${pages} pages`);
  const inParent = (fields[IN_PARENT] ?? 0) !== 0;
  const flags = inParent ? (fields[FLAGS] ?? 0) | PARENT : (fields[FLAGS] ?? PRESENT);
  return { vaddr, pages, flags };
}

/** The last value of each field, by its number. All fields of these messages are varints. */
function readFields(image: Buffer, start: number, end: number): (number | undefined)[] {
  const fields: (number | undefined)[] = [];
  const reader = new VarintReader(image, start, end);
  while (!reader.isAtEnd) {
    const tag = numberOf(reader);
    const number = Math.floor(tag / 8);
    // A field that is not known may change what the others mean.
    if (tag % 8 !== 0 || number < 1 || number > NR_PAGES) throw broken(`an entry with an unknown field, tag ${tag}`);
    fields[number] = numberOf(reader);
  }
  return fields;
}

function numberOf(reader: VarintReader): number {
  const value = reader.next();
  if (value === null) throw broken("an entry that is cut short, or has no number where one should be");
  // What is no multiple of a page has no place in a number of this size.
  if (value > Number.MAX_SAFE_INTEGER && reader.low % PAGE_BYTES !== 0) throw broken("a number that is too large");
  return value;
}

function encodeMessage(fields: readonly (readonly [number: number, value: number])[]): Buffer {
  const bytes: number[] = [];
  for (const [number, value] of fields) {
    bytes.push(number * 8);
    pushVarint(bytes, value);
  }
  const message = Buffer.allocUnsafe(SIZE_BYTES + bytes.length);
  message.writeUInt32LE(bytes.length, 0);
  message.set(bytes, SIZE_BYTES);
  return message;
}

function broken(what: string): DrayError {
  return new DrayError("CORRUPT_STREAM", `a pagemap image of CRIU cannot be used: ${what}`);
}
