/**
 * What CRIU says of a run of pages, on the wire to a page server and in a pagemap image alike (`PE_*` in
 * criu/include/pagemap.h). Addresses are multiples of 4096 below 2^56, which a number holds exactly.
 */

export const PAGE_BYTES = 4096;

/** The content is in the image of an earlier round. */
export const PARENT = 1;
/** May be fetched after the restore. */
export const LAZY = 2;
/** The content is in the pages image beside the pagemap, or follows on the wire. */
export const PRESENT = 4;

/** What CRIU numbers separately: the private memory of a process, and memory that is shared. */
export type ImageKind = "task" | "shared";

export interface ImageId {
  readonly kind: ImageKind;
  /**
   * Of a task: its pid in its own namespace. Of shared memory: the inode number, and of System V's the id of the
   * segment.
   */
  readonly id: number;
}

/** A run of pages of one image. */
export interface PageSpan {
  /** Address in the process, or offset in the shared memory. */
  readonly vaddr: number;
  readonly pages: number;
}

export interface PageRange extends PageSpan {
  readonly flags: number;
}

/** The half of a 57-bit address space that processes have; no kernel gives them more. */
const SPACE_END = 2 ** 56;
const MOST_PAGES = 2 ** 40 / PAGE_BYTES;
/**
 * All that CRIU's dumps produce, and pages of the parent that may come later. Of the others its restore makes nonsense:
 * it takes the content of pages that are neither present nor in the parent from the wrong place of the pages image.
 */
const SOUND_FLAGS: ReadonlySet<number> = new Set([PRESENT, PRESENT | LAZY, LAZY, PARENT, PARENT | LAZY]);

export function endOf({ vaddr, pages }: PageSpan): number {
  return vaddr + pages * PAGE_BYTES;
}

export function describeRange(range: PageSpan): string {
  return `${range.vaddr.toString(16)}-${endOf(range).toString(16)}`;
}

/**
 * What is wrong with a range behind others of its image that end at `after`; null if nothing is. Ranges ascend and do
 * not overlap: CRIU dumps in this order, and its restore only ever seeks forward in a pagemap.
 */
export function rangeFault(range: PageRange, after: number): string | null {
  const { vaddr, pages, flags } = range;
  if (!SOUND_FLAGS.has(flags)) return `a range with flags ${flags}`;
  if (vaddr % PAGE_BYTES !== 0) return `a range that begins inside of a page, at ${vaddr.toString(16)}`;
  if (pages < 1 || pages > MOST_PAGES) return `a range of ${pages} pages`;
  if (endOf(range) > SPACE_END) return `a range outside of the address space, ${describeRange(range)}`;
  if (vaddr < after) return `the range ${describeRange(range)} behind one that ends at ${after.toString(16)}`;
  return null;
}
