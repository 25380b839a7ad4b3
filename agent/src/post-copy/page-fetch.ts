/**
 * The destination's part of a post-copy: the copy's fault server says what is missing and what is waited for, the
 * source sends it, and what an earlier round of pre-copy has brought is taken from there.
 *
 * ```
 *  copy ── fault ──► fault server ──► here ── word ──► source
 *       ◄── page ──              ◄──      ◄── pages ──
 * ```
 *
 * Nothing here is needed to keep the memory sound: the fault server holds what is missing, threads wait, and another
 * process of the agent, or another connection of the source, goes on.
 */
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { IncomingFile } from "@drayage/shared/page-stream/transfer-types.ts";
import { type MemoryImage, MemoryImageReader } from "../memory-image/memory-image-reader.ts";
import { PARENT, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamDecoder } from "../memory-stream/decoder.ts";
import { FaultServer, type FaultServerEvents, type FaultServerState } from "./fault-server.ts";
import { lazyRanges } from "./lazy-ranges.ts";
import { type FaultProgress, MAX_PAGES_PER_FRAME, PAGE_BYTES, type PageRange } from "./protocol.ts";
import type { FaultServerPlace, FaultServerStart } from "./server-unit.ts";
import { type PageTriple, TRIPLES_AT_A_TIME, type Word } from "./words.ts";

export interface PageFetchOptions {
  /** Directory of the last round of memory that came before the switch; null if there was none. */
  readonly lastRound: () => Promise<string | null>;
  /** Told of what nobody waits for. */
  readonly onTrouble: (message: string) => void;
}

export class PageFetch {
  readonly #options: PageFetchOptions;
  #server: FaultServer | undefined;
  #file: IncomingFile | undefined;
  /** Threads wait for these: "task address". */
  readonly #faults = new Set<string>();
  /** Pages that nobody waits for may come. */
  #isBegun = false;
  #progress: FaultProgress | undefined;
  #missingPages = 0;
  /** Pages whose content has come from the source. */
  #receivedPages = 0;
  #round: { readonly reader: MemoryImageReader; readonly images: Map<number, MemoryImage> } | null | undefined;

  constructor(options: PageFetchOptions) {
    this.#options = options;
  }

  /** Starts the fault server; the images may come later. */
  async start(options: FaultServerStart, signal: AbortSignal): Promise<void> {
    this.#server = await FaultServer.start({ ...options, events: this.#events(), signal });
    this.#follow(this.#server);
  }

  /** Takes up what an earlier process of the agent has started. NOT_FOUND if there is none. */
  async attach(place: FaultServerPlace): Promise<void> {
    this.#server = await FaultServer.attach({ ...place, events: this.#events() });
    this.#follow(this.#server);
  }

  /** The images, without the memory that is to be fetched, are here: tells the fault server, which CRIU finds then. */
  async expect(imageDirectory: string): Promise<void> {
    const server = this.#demandServer();
    for (const [task, ranges] of await lazyRanges(imageDirectory)) {
      this.#missingPages += ranges.reduce((sum, { pages }) => sum + pages, 0);
      await server.ranges(task, ranges);
    }
    await server.listen();
  }

  /** The copy runs: from now on everything is fetched, not only what it waits for. */
  begin(): void {
    if (this.#isBegun) return;
    this.#isBegun = true;
    this.#askForAll();
  }

  /** Resolves when all memory is here. Rejects if the fault server has vanished: then the copy stands frozen. */
  get complete(): Promise<void> {
    return this.#demandServer().ended.then((outcome) => {
      if (outcome === "done") return;
      throw new DrayError("CRIU_RESTORE_FAILED", `the fault server has ended: ${outcome}`);
    });
  }

  get progress(): {
    readonly placedPages: number;
    readonly missingPages: number;
    readonly receivedPages: number;
    readonly faults: FaultProgress | null;
  } {
    return {
      placedPages: this.#progress?.placedPages ?? 0,
      missingPages: this.#missingPages,
      receivedPages: this.#receivedPages,
      faults: this.#progress ?? null,
    };
  }

  /** Takes the pages of one connection of the source, until all are here or the connection is lost. */
  async receive(file: IncomingFile): Promise<void> {
    const server = this.#demandServer();
    const isFirst = this.#file === undefined;
    this.#file = file;
    for (const fault of this.#faults) this.#say({ fault: placeOf(fault) });
    if (this.#isBegun) {
      // What was under way on an earlier connection is lost; only the server knows what that was.
      if (isFirst || !(await server.end())) this.#askForAll();
    }
    void server.ended.then(
      () => this.#say({ complete: true }),
      () => undefined,
    );
    await this.#take(file, server);
  }

  /** Ends the fault server of a copy that never ran; nothing happens to one that a copy needs. */
  async discard(): Promise<void> {
    await this.#closeRound();
    await this.#server?.stop();
    this.#server?.close();
  }

  /** All is over. */
  async close(): Promise<void> {
    await this.#closeRound();
    this.#server?.close();
  }

  async #take(file: IncomingFile, server: FaultServer): Promise<void> {
    const decoder = new MemoryStreamDecoder();
    const pages = Buffer.allocUnsafeSlow(MAX_PAGES_PER_FRAME * PAGE_BYTES);
    let task = 0;
    /** Address of the first page in `pages`, bytes there, and bytes of the range that are still to come. */
    let at = 0;
    let filled = 0;
    let expected = 0;
    const place = async () => {
      if (filled === 0) return;
      await this.#place(server, task, at, pages.subarray(0, filled));
      at += filled;
      filled = 0;
    };
    for await (const chunk of file.content as AsyncIterable<Buffer>) {
      for (const event of decoder.decode(chunk)) {
        if (event.kind === "open") task = event.image.id;
        else if (event.kind === "range" && (event.flags & PARENT) !== 0)
          await this.#placeFromRound(server, task, event);
        else if (event.kind === "range" && (event.flags & PRESENT) !== 0) {
          at = event.vaddr;
          this.#receivedPages += event.pages;
          expected = event.pages * PAGE_BYTES;
        } else if (event.kind === "content") {
          for (let done = 0; done < event.bytes.length; ) {
            const taken = event.bytes.copy(pages, filled, done);
            done += taken;
            filled += taken;
            expected -= taken;
            if (filled === pages.length || expected === 0) await place();
          }
        }
      }
    }
    decoder.finish();
  }

  async #placeFromRound(
    server: FaultServer,
    task: number,
    { vaddr, pages }: { readonly vaddr: number; readonly pages: number },
  ): Promise<void> {
    const image = await this.#imageOfRound(task);
    const space = Buffer.allocUnsafe(Math.min(pages, MAX_PAGES_PER_FRAME) * PAGE_BYTES);
    for (let done = 0; done < pages; ) {
      const part = space.subarray(0, Math.min(pages - done, MAX_PAGES_PER_FRAME) * PAGE_BYTES);
      const address = vaddr + done * PAGE_BYTES;
      await image.read(address, part);
      await this.#place(server, task, address, part);
      done += part.length / PAGE_BYTES;
    }
  }

  async #place(server: FaultServer, task: number, address: number, pages: Buffer): Promise<void> {
    let urgent = false;
    for (let offset = 0; offset < pages.length && this.#faults.size > 0; offset += PAGE_BYTES) {
      if (this.#faults.delete(`${task} ${address + offset}`)) urgent = true;
    }
    await server.pages(task, address, pages, urgent);
    this.#say({ taken: pages.length / PAGE_BYTES });
  }

  async #imageOfRound(task: number): Promise<MemoryImage> {
    if (this.#round === undefined) {
      const directory = await this.#options.lastRound();
      this.#round = directory === null ? null : { reader: await MemoryImageReader.open(directory), images: new Map() };
    }
    if (this.#round === null) throw new DrayError("CORRUPT_STREAM", "pages of a round that there was not");
    let image = this.#round.images.get(task);
    if (image === undefined) {
      image = await this.#round.reader.load({ kind: "task", id: task });
      this.#round.images.set(task, image);
    }
    return image;
  }

  async #closeRound(): Promise<void> {
    const round = this.#round;
    this.#round = null;
    if (round) await Promise.all([...round.images.values()].map((image) => image.close()));
  }

  #events(): FaultServerEvents {
    return {
      onState: (state) => {
        this.#faults.clear();
        this.#missingPages = Math.max(this.#missingPages, pagesOf(state));
        if (this.#isBegun) this.#askFor(state);
      },
      onFault: (task, address) => {
        this.#faults.add(`${task} ${address}`);
        this.#say({ fault: [task, address] });
      },
      onDropped: (task, ranges) => {
        for (const some of inPieces(triplesOf(task, ranges))) this.#say({ dropped: some });
      },
      onProgress: (progress) => {
        this.#progress = progress;
      },
      onTrouble: (message) => this.#options.onTrouble(message),
    };
  }

  #follow(server: FaultServer): void {
    server.ended.catch((thrown: unknown) => this.#options.onTrouble(toDrayError(thrown).message));
  }

  #askForAll(): void {
    try {
      this.#askFor(this.#demandServer().state);
    } catch (thrown) {
      // It has ended: nothing is missing.
      if (toDrayError(thrown).reason !== "INTERNAL") throw thrown;
    }
  }

  #askFor({ remaining }: FaultServerState): void {
    for (const [task, ranges] of remaining) {
      for (const some of inPieces(triplesOf(task, ranges))) this.#say({ missing: some });
    }
  }

  #say(word: Word): void {
    this.#file?.say(word);
  }

  #demandServer(): FaultServer {
    if (this.#server === undefined) throw new DrayError("INTERNAL", "there is no fault server yet");
    return this.#server;
  }
}

function pagesOf({ remaining }: FaultServerState): number {
  let sum = 0;
  for (const ranges of remaining.values()) for (const { pages } of ranges) sum += pages;
  return sum;
}

function triplesOf(task: number, ranges: readonly PageRange[]): PageTriple[] {
  return ranges.map(({ start, pages }) => [task, start, pages]);
}

function* inPieces(triples: readonly PageTriple[]): Generator<PageTriple[]> {
  for (let at = 0; at < triples.length; at += TRIPLES_AT_A_TIME) yield triples.slice(at, at + TRIPLES_AT_A_TIME);
}

function placeOf(fault: string): [number, number] {
  const [task = 0, address = 0] = fault.split(" ").map(Number);
  return [task, address];
}
