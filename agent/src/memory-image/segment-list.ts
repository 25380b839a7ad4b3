/** Where pages are, run by run, ascending, 22 bytes each: of a process that writes here and there there are millions. Pure. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { letGo } from "./let-go.ts";
import { endOf, PAGE_BYTES, type PageSpan } from "./page-range.ts";

/** A run of pages that lie together. */
export interface Segment {
  readonly vaddr: number;
  readonly pages: number;
  /** Whose pages image has the content, 0 for the last round; null if no one has: it is fetched lazily. */
  readonly level: number | null;
  /** In that pages image, bytes. */
  readonly offset: number;
}

const NO_LEVEL = -1;
/** A length. */
const LET_GO = -1;
const MOST_PAGES = 2 ** 32 - 1;

export class SegmentList implements Iterable<Segment> {
  readonly #vaddrs: Float64Array<ArrayBuffer>;
  readonly #pages: Uint32Array<ArrayBuffer>;
  readonly #levels: Int16Array<ArrayBuffer>;
  readonly #offsets: Float64Array<ArrayBuffer>;
  #length = 0;

  /** Of so many at most; what is not used takes no memory. */
  constructor(most: number) {
    this.#vaddrs = new Float64Array(most);
    this.#pages = new Uint32Array(most);
    this.#levels = new Int16Array(most);
    this.#offsets = new Float64Array(most);
  }

  /** Throws INTERNAL, as everything that follows, once it was let go: whoever reads late must not find that there is nothing. */
  get length(): number {
    if (this.#length === LET_GO) throw new DrayError("INTERNAL", "an image of memory is read that was closed");
    return this.#length;
  }

  at(index: number): Segment | undefined {
    if (index >= this.length) return undefined;
    const level = this.#levels[index] as number;
    return {
      vaddr: this.#vaddrs[index] as number,
      pages: this.#pages[index] as number,
      level: level === NO_LEVEL ? null : level,
      offset: this.#offsets[index] as number,
    };
  }

  *[Symbol.iterator](): Generator<Segment, void, undefined> {
    for (let index = 0; index < this.length; index++) yield this.at(index) as Segment;
  }

  /** Behind all others. Where it goes on what the last one begins, that becomes longer. */
  push({ vaddr, pages, level, offset }: Segment): void {
    const last = this.length - 1;
    if (last >= 0 && this.#follows(last, vaddr, pages, level ?? NO_LEVEL, offset)) {
      this.#pages[last] = (this.#pages[last] as number) + pages;
      return;
    }
    if (this.#length === this.#vaddrs.length)
      throw new DrayError("INTERNAL", "there are more segments than there can be");
    const index = this.#length++;
    this.#vaddrs[index] = vaddr;
    this.#pages[index] = pages;
    this.#levels[index] = level ?? NO_LEVEL;
    this.#offsets[index] = offset;
  }

  /** It is not used any more. */
  letGo(): void {
    letGo(this.#vaddrs, this.#pages, this.#levels, this.#offsets);
    this.#length = LET_GO;
  }

  /** Index of the first segment that ends behind this address. */
  indexOf(vaddr: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#endAt(middle) <= vaddr) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Whether all of the range is in pages images. */
  hasContent(range: PageSpan): boolean {
    const end = endOf(range);
    let { vaddr } = range;
    for (let index = this.indexOf(vaddr); vaddr < end; index++) {
      const isThere = index < this.#length && this.#levels[index] !== NO_LEVEL;
      if (!isThere || (this.#vaddrs[index] as number) > vaddr) return false;
      vaddr = this.#endAt(index);
    }
    return true;
  }

  /** All of a range, piece by piece: what is in pages images, and in between, of level null, what is not. */
  *piecesOf(range: PageSpan): Generator<Segment, void, undefined> {
    const end = endOf(range);
    let { vaddr } = range;
    for (let index = this.indexOf(vaddr); vaddr < end; index++) {
      const segment = this.at(index);
      const start = Math.min(segment?.vaddr ?? end, end);
      if (start > vaddr) yield { vaddr, pages: (start - vaddr) / PAGE_BYTES, level: null, offset: 0 };
      vaddr = Math.max(vaddr, start);
      if (segment === undefined || vaddr === end) return;
      const pages = (Math.min(endOf(segment), end) - vaddr) / PAGE_BYTES;
      yield { ...segment, vaddr, pages, offset: segment.level === null ? 0 : segment.offset + vaddr - segment.vaddr };
      vaddr += pages * PAGE_BYTES;
    }
  }

  #endAt(index: number): number {
    return (this.#vaddrs[index] as number) + (this.#pages[index] as number) * PAGE_BYTES;
  }

  #follows(last: number, vaddr: number, pages: number, level: number, offset: number): boolean {
    const before = this.#pages[last] as number;
    if (this.#levels[last] !== level || this.#endAt(last) !== vaddr || before + pages > MOST_PAGES) return false;
    return level === NO_LEVEL || (this.#offsets[last] as number) + before * PAGE_BYTES === offset;
  }
}
