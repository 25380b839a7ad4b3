/**
 * The memory of a dump on its way from CRIU to the peer: what the page server is given becomes a memory stream, of
 * which the pages that the last round has are left out. Nothing of it is written on this host.
 *
 * ```
 *  CRIU ── pages ──► page server ──► judged, some at a time ──► chunks ──► page stream ──► peer
 *       ◄───────────── held back while the peer does not take more ─────────────────
 * ```
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { type ImageId, PAGE_BYTES, type PageRange, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import type { PageSink } from "../page-server/page-server.ts";
import { Handoff } from "./handoff.ts";
import { type Known, PageBatch } from "./page-batch.ts";

type Item =
  | { readonly kind: "open"; readonly image: ImageId }
  | { readonly kind: "range"; readonly range: PageRange }
  | { readonly kind: "content"; readonly bytes: Buffer };

export class DumpMemory implements PageSink {
  readonly #batch: PageBatch;
  readonly #handoff = new Handoff();
  #items: Item[] = [];
  /** Where the next byte of content belongs, and how many are still to come of the range. */
  #vaddr = 0;
  #contentBytes = 0;
  /** Bytes of a page that is not whole yet. */
  #partBytes = 0;

  /** With `known`, pages that its last round has are left out. */
  constructor(known: Known | null) {
    this.#batch = new PageBatch(new MemoryStreamEncoder(), known);
  }

  /** The memory stream; each chunk is to be used before the next is asked for. */
  get chunks(): AsyncIterable<Buffer> {
    return this.#handoff;
  }

  /** Pages that CRIU has given. */
  get seenPages(): number {
    return this.#batch.seenPages;
  }

  /** Of them, those that were sent. */
  get sentPages(): number {
    return this.#batch.sentPages;
  }

  /** Nothing will come: whoever reads the chunks gets this. */
  fail(error: Error): void {
    this.#handoff.fail(error);
  }

  /** CRIU gives everything: what the last round has is found out here, by content. */
  parentHas(): boolean {
    return false;
  }

  async open(image: ImageId): Promise<boolean> {
    this.#items.push({ kind: "open", image });
    await this.flush();
    return false;
  }

  entry(range: PageRange): void {
    this.#items.push({ kind: "range", range });
  }

  data(bytes: Buffer): void {
    this.#items.push({ kind: "content", bytes });
  }

  async flush(): Promise<void> {
    const items = this.#items;
    this.#items = [];
    for (const item of items) {
      if (item.kind === "content") await this.#take(item.bytes);
      else if (item.kind === "open") await this.#putAll(this.#batch.open(item.image));
      else await this.#begin(item.range);
    }
  }

  async close(): Promise<void> {
    await this.flush();
    if (this.#contentBytes > 0) throw new DrayError("CORRUPT_STREAM", "CRIU has closed in the middle of a range");
    await this.#putAll(this.#batch.end());
    this.#handoff.end();
  }

  async #begin(range: PageRange): Promise<void> {
    if ((range.flags & PRESENT) === 0) return this.#putAll(this.#batch.range(range.vaddr, range.pages, range.flags));
    this.#vaddr = range.vaddr;
    this.#contentBytes = range.pages * PAGE_BYTES;
  }

  /** Bytes come in whatever pieces the socket has had them. */
  async #take(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const space = this.#batch.space(this.#vaddr, Math.ceil(this.#contentBytes / PAGE_BYTES));
      const taken = bytes.copy(space, this.#partBytes, at);
      at += taken;
      const filled = this.#partBytes + taken;
      const pages = Math.floor(filled / PAGE_BYTES);
      this.#partBytes = filled % PAGE_BYTES;
      // What is left of a page stays where it is: it is the first of the next space.
      this.#batch.add(this.#vaddr, pages);
      this.#vaddr += pages * PAGE_BYTES;
      this.#contentBytes -= pages * PAGE_BYTES;
      if (this.#batch.isFull) await this.#putAll(this.#batch.drain());
    }
  }

  async #putAll(chunks: Iterable<Buffer>): Promise<void> {
    for (const chunk of chunks) await this.#handoff.put(chunk);
  }
}
