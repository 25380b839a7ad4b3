/**
 * Decides what becomes of pages, given what was sent before: a page that is the same as in the last round goes without
 * its content; one that another page of the stream has, as a reference; one that changes again and again, as what has
 * changed.
 */
import { type ImageId, PAGE_BYTES } from "../memory-image/page-range.ts";
import { encodeDelta } from "../memory-image/page-delta.ts";
import { DIGEST_BYTES } from "../native/addon.ts";
import type { ChangingPages } from "./changing-pages.ts";
import type { DigestTable } from "./digest-table.ts";
import { BATCH_PAGES, type PageWindow, type Piece, SAME, SENT } from "./page-window.ts";
import type { RepeatedPages } from "./repeated-pages.ts";

/** What is known of pages that were sent, and the number of the round that is made now. */
export interface Known {
  readonly digests: DigestTable;
  readonly round: number;
  /** Finds pages with the content of others that go with the same stream; null where each has to have its own. */
  readonly repeated: RepeatedPages | null;
  /** What the last round has of pages that keep changing; null where each has to go whole. */
  readonly changing: ChangingPages | null;
}

export class PageJudge {
  readonly #window: PageWindow;
  readonly #known: Known;
  /** Of the pages of one piece: 1 for each that the last round has as it is kept here. */
  readonly #isKept = new Uint8Array(BATCH_PAGES);
  /** Pages that go whole. */
  sentPages = 0;
  repeatedPages = 0;
  changedPages = 0;
  /** Of what has changed in the last ones, bytes. */
  changeBytes = 0;

  /** Of a stream that begins now. */
  constructor(window: PageWindow, known: Known) {
    this.#window = window;
    this.#known = known;
    known.repeated?.begin();
  }

  /** Pieces come in the order of the stream. Says in the window what becomes of its pages, and counts them. */
  judge(image: ImageId, piece: Piece): void {
    const { digests, round, repeated, changing } = this.#known;
    const { vaddr, firstPage, pages } = piece;
    if (piece.isSame) {
      digests.tell(image, round, vaddr, pages);
      return;
    }
    // Nothing is kept of the first round, and what has changed is of no interest in what goes whole.
    const keeping = round > 0 && !piece.isWhole ? changing : null;
    if (keeping !== null) this.#lookForKept(image, piece, keeping);
    const { content, fates } = this.#window;
    const verdicts = fates.subarray(firstPage, firstPage + pages);
    const toSend = digests.compare(image, round, vaddr, content, firstPage * PAGE_BYTES, pages, verdicts);
    if (piece.isWhole) verdicts.fill(SENT);
    this.sentPages += piece.isWhole ? pages : toSend;
    if (repeated !== null) this.#findRepeated(image, piece, repeated);
    if (keeping !== null) this.#findChanged(image, piece, keeping);
  }

  #lookForKept(image: ImageId, { vaddr, pages }: Piece, changing: ChangingPages): void {
    const { digests, round } = this.#known;
    this.#isKept.fill(0, 0, pages);
    if (changing.isEmpty) return;
    for (let index = 0; index < pages; index++) {
      const address = vaddr + index * PAGE_BYTES;
      if (changing.find(image, address) !== undefined && digests.wasTold(image, round, address))
        this.#isKept[index] = 1;
    }
  }

  #findRepeated(image: ImageId, { vaddr, firstPage, pages }: Piece, repeated: RepeatedPages): void {
    const { content, fates } = this.#window;
    const { digests, offset } = this.#known.digests.digestAt(image, vaddr);
    for (let index = 0; index < pages; index++) {
      const page = firstPage + index;
      if (fates[page] !== SENT) continue;
      const number = repeated.take(content, page * PAGE_BYTES, digests, offset + index * DIGEST_BYTES);
      if (number === undefined) continue;
      this.#window.repeat(page, number);
      this.sentPages--;
      this.repeatedPages++;
    }
  }

  #findChanged(image: ImageId, { vaddr, firstPage, pages }: Piece, changing: ChangingPages): void {
    const { content, fates } = this.#window;
    for (let index = 0; index < pages; index++) {
      const page = firstPage + index;
      const fate = fates[page];
      if (fate === SAME) continue;
      const address = vaddr + index * PAGE_BYTES;
      const at = page * PAGE_BYTES;
      const before = fate === SENT && this.#isKept[index] === 1 ? changing.find(image, address) : undefined;
      const change = before && encodeDelta(before.content, before.offset, content, at);
      changing.keep(image, address, content, at);
      if (change === undefined || change === null) continue;
      this.#window.change(page, change);
      this.sentPages--;
      this.changedPages++;
      this.changeBytes += change.length;
    }
  }
}
