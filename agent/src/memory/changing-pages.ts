/**
 * The content of pages that were sent after the first round, as the destination has it: of one that changes again, only
 * what has changed is sent. Keeps so many as fit, the newer one where two fall together.
 */
import { type ImageId, PAGE_BYTES } from "../memory-image/page-range.ts";

/** 32 MiB of content. */
const KEPT_PAGES = 8192;
/** Pages between the same address of one process and the next. */
const APART = 1201;
const NOBODY = -1;

export class ChangingPages {
  /** Made when there is something to keep: many migrations have no rounds that would. */
  #content: Buffer | undefined;
  /** Of each place, whose page it is: images and addresses. */
  readonly #images = new Float64Array(KEPT_PAGES).fill(NOBODY);
  readonly #addresses = new Float64Array(KEPT_PAGES);

  get isEmpty(): boolean {
    return this.#content === undefined;
  }

  /** Where the page is in `content`; undefined if it is not kept. */
  find(image: ImageId, vaddr: number): { readonly content: Buffer; readonly offset: number } | undefined {
    const slot = slotOf(image, vaddr);
    if (this.#content === undefined) return undefined;
    if (this.#images[slot] !== numberOf(image) || this.#addresses[slot] !== vaddr) return undefined;
    return { content: this.#content, offset: slot * PAGE_BYTES };
  }

  /** What the destination will have of it. */
  keep(image: ImageId, vaddr: number, content: Buffer, offset: number): void {
    this.#content ??= Buffer.allocUnsafeSlow(KEPT_PAGES * PAGE_BYTES);
    const slot = slotOf(image, vaddr);
    this.#images[slot] = numberOf(image);
    this.#addresses[slot] = vaddr;
    content.copy(this.#content, slot * PAGE_BYTES, offset, offset + PAGE_BYTES);
  }
}

/** Neighbours do not fall together; processes of one program, which have the same addresses, hardly. */
function slotOf({ id }: ImageId, vaddr: number): number {
  return (vaddr / PAGE_BYTES + id * APART) % KEPT_PAGES;
}

/** Of both kinds, without two that are the same; ids are below 2^51. */
function numberOf({ kind, id }: ImageId): number {
  return 2 * id + (kind === "task" ? 0 : 1);
}
