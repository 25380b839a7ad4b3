/**
 * Memory that comes to a copy when it runs: its fault server says what is missing and what is waited for. In a post-copy
 * the source sends it, and what an earlier round of pre-copy has brought is taken from there. Where all has come before,
 * it is all taken from the images, and only its way into the processes is left for later.
 *
 * ```
 *  copy ── fault ──► fault server ──► here ── word ──► source
 *       ◄── page ──              ◄──      ◄── pages ──
 * ```
 *
 * Nothing here is needed to keep the memory sound: the fault server holds what is missing, threads wait, and another
 * process of the agent, or another connection of the source, goes on.
 */
import { setTimeout as delay } from "node:timers/promises";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { type MemoryImage, MemoryImageReader } from "../memory-image/memory-image-reader.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { FaultServer, type FaultServerEvents, type FaultServerState } from "./fault-server.ts";
import { lazyRanges } from "./lazy-ranges.ts";
import { PageSource } from "./page-source.ts";
import type { FaultProgress, PageRange } from "./protocol.ts";
import {
  type FaultServerPlace,
  type FaultServerStart,
  forgetOutcome,
  removeTraces,
  stopServerUnit,
} from "./server-unit.ts";
import { takePages } from "./take-pages.ts";
import { type PageTriple, TRIPLES_AT_A_TIME, type Word } from "./words.ts";

/** Whether the copy may run without its memory. */
export type FetchStanding =
  /** Its fault server has everything in hand. */
  | "ready"
  /** It has gone, and took the memory that is missing along: such a copy must never run. */
  | "lost"
  /** Not known now. */
  | "unknown";

export interface PageFetchOptions {
  readonly place: FaultServerPlace;
  /** Directory of the images that have what need not be sent: the last round before the switch; null if there are none. */
  readonly images: () => Promise<string | null>;
  /** Told of what nobody waits for. */
  readonly onTrouble: (message: string) => void;
}

/** Where pages come from. */
export interface PageStream {
  /** A memory stream; each chunk is used before the next is asked for. */
  readonly content: AsyncIterable<Buffer>;
  readonly say: (word: Word) => void;
  /** What has come of it so far over the network. */
  readonly wireBytes: number;
}

/** Before what is on this host is tried again. */
const RETRY_MS = 500;

interface OpenImages {
  readonly reader: MemoryImageReader;
  readonly images: Map<number, Promise<MemoryImage>>;
}

export class PageFetch {
  readonly #options: PageFetchOptions;
  #server: FaultServer | undefined;
  #stream: PageStream | undefined;
  /** Of pages that are in the images here. */
  #local: PageSource | undefined;
  #isClosed = false;
  /** Threads wait for these: "task address". */
  readonly #faults = new Set<string>();
  /** Pages that nobody waits for may come. */
  #isBegun = false;
  #progress: FaultProgress | undefined;
  #missingPages = 0;
  /** Pages whose content has come from the source. */
  #receivedPages = 0;
  /** Over earlier connections than that of the stream. */
  #earlierWireBytes = 0;
  #images: Promise<OpenImages | null> | undefined;
  #isRestored = false;
  /** Nothing is missing any more: no fault server is needed. */
  #isWhole = false;
  /** Why the memory that is missing can never come. */
  #loss: DrayError | undefined;

  constructor(options: PageFetchOptions) {
    this.#options = options;
  }

  /** Starts the fault server; the images may come later. */
  async start(options: Omit<FaultServerStart, keyof FaultServerPlace>, signal: AbortSignal): Promise<void> {
    const { place } = this.#options;
    this.#follow(await FaultServer.start({ ...place, ...options, events: this.#events(), signal }));
  }

  /** Takes up what an earlier process of the agent has started, or finds that it is lost. Throws what may pass. */
  async attach(): Promise<void> {
    try {
      this.#follow(await FaultServer.attach({ ...this.#options.place, events: this.#events() }));
    } catch (thrown) {
      const error = toDrayError(thrown);
      if (error.reason !== "NOT_FOUND") throw error;
      this.#loss = error;
    }
  }

  /** Of a copy that is to be thawed. */
  get standing(): FetchStanding {
    if (this.#loss !== undefined) return "lost";
    // One that is not reached may have been killed.
    return this.#isRestored && (this.#isWhole || this.#server?.isReached === true) ? "ready" : "unknown";
  }

  /** Resolves when CRIU has handed all processes over. */
  async restored(): Promise<void> {
    await this.#demandServer().restored;
  }

  /** The images, without the memory that is to be fetched, are here: tells the fault server, which CRIU finds then. */
  async expect(imageDirectory: string, inImages: boolean): Promise<void> {
    const server = this.#demandServer();
    for (const [task, ranges] of await lazyRanges(imageDirectory, inImages)) {
      this.#missingPages += ranges.reduce((sum, { pages }) => sum + pages, 0);
      await server.ranges(task, ranges);
    }
    await server.listen();
  }

  /**
   * Takes everything from the images, whatever fails in between. Resolves when all is in its place, or with `close`; at
   * once if there is no fault server any more, as after a restart of the host: `standing` and `complete` tell of that.
   */
  async takeFromImages(imageDirectory: string): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    let told = "";
    let isOver = false;
    server.ended.then(
      () => (isOver = true),
      () => (isOver = true),
    );
    while (!isOver && !this.#isClosed) {
      try {
        await this.#takeOnce(imageDirectory);
        return;
      } catch (thrown) {
        if (this.#isClosed) return;
        const { message } = toDrayError(thrown);
        if (message !== told) this.#options.onTrouble(`memory does not get from the images, trying again: ${message}`);
        told = message;
        await delay(RETRY_MS);
      }
    }
  }

  async #takeOnce(imageDirectory: string): Promise<void> {
    const pids = [...(await lazyRanges(imageDirectory, true)).keys()];
    if (this.#isClosed) return;
    const served = pids.map((pid) => ({ pid, read: null, written: null }));
    const source = new PageSource(served, null);
    this.#local = source;
    await this.receive({ content: source.chunks(), say: (word) => source.onWord(word), wireBytes: 0 });
  }

  /** The copy runs: from now on everything is fetched, not only what it waits for. */
  begin(): void {
    if (this.#isBegun) return;
    this.#isBegun = true;
    this.#askForAll();
  }

  /** Of a copy whose standing is "lost", CRIU_RESTORE_FAILED; null of others. */
  get loss(): DrayError | null {
    return this.#loss === undefined ? null : lost(this.#loss);
  }

  /** Resolves when all memory is here. CRIU_RESTORE_FAILED if the fault server has gone before: the copy is lost then. */
  get complete(): Promise<void> {
    if (this.loss !== null) return Promise.reject(this.loss);
    return this.#demandServer().ended.then(
      (outcome) => {
        if (outcome !== "done") throw lost(new DrayError("INTERNAL", `the fault server has ended: ${outcome}`));
      },
      (thrown: unknown) => {
        const error = toDrayError(thrown);
        // Let go of by this process itself.
        throw error.reason === "CANCELLED" ? error : lost(error);
      },
    );
  }

  get progress(): {
    readonly placedPages: number;
    readonly missingPages: number;
    readonly receivedPages: number;
    readonly wireBytes: number;
    readonly faults: FaultProgress | null;
  } {
    return {
      placedPages: this.#progress?.placedPages ?? 0,
      missingPages: this.#missingPages,
      receivedPages: this.#receivedPages,
      wireBytes: this.#earlierWireBytes + (this.#stream?.wireBytes ?? 0),
      faults: this.#progress ?? null,
    };
  }

  /** Takes the pages of one connection of the source, until all are here or the connection is lost. */
  async receive(stream: PageStream): Promise<void> {
    const server = this.#demandServer();
    const isFirst = this.#stream === undefined;
    this.#earlierWireBytes += this.#stream?.wireBytes ?? 0;
    this.#stream = stream;
    for (const fault of this.#faults) this.#say({ fault: placeOf(fault) });
    if (this.#isBegun) {
      // What was under way on an earlier connection is lost; only the server knows what that was.
      if (isFirst || !(await server.end())) this.#askForAll();
    }
    void server.ended.then(
      () => this.#say({ complete: true }),
      () => undefined,
    );
    await takePages(stream.content, {
      place: (task, address, pages) => this.#place(server, task, address, pages),
      imageOf: (task) => this.#imageOf(task),
      onReceived: (pages) => (this.#receivedPages += pages),
    });
  }

  /** Ends the fault server of a copy that is dead, or was never there. */
  async discard(): Promise<void> {
    await this.close();
    await stopServerUnit(this.#options.place.migrationId);
    await removeTraces(this.#options.place);
  }

  /** All is over. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#local?.fail(new DrayError("CANCELLED", "the copy's memory is not brought by this process any more"));
    const open = await this.#images?.catch(() => null);
    this.#images = Promise.resolve(null);
    if (open) await Promise.allSettled([...open.images.values()].map(async (image) => (await image).close()));
    this.#server?.close();
  }

  /** Nobody will ask any more how it has ended. */
  async forget(): Promise<void> {
    await this.close();
    await forgetOutcome(this.#options.place);
  }

  async #place(server: FaultServer, task: number, address: number, pages: Buffer): Promise<void> {
    let urgent = false;
    for (let offset = 0; offset < pages.length && this.#faults.size > 0; offset += PAGE_BYTES) {
      if (this.#faults.delete(`${task} ${address + offset}`)) urgent = true;
    }
    // What comes too early is asked for again later: it must not stand in the way of what CRIU waits for.
    if (urgent || this.#isRestored) await server.pages(task, address, pages, urgent);
    this.#say({ taken: pages.length / PAGE_BYTES });
  }

  async #imageOf(task: number): Promise<MemoryImage> {
    this.#images ??= this.#openImages();
    const open = await this.#images;
    if (open === null) throw new DrayError("CORRUPT_STREAM", "pages of images that there are not");
    let image = open.images.get(task);
    if (image === undefined) {
      image = open.reader.load({ kind: "task", id: task });
      open.images.set(task, image);
      image.catch(() => open.images.delete(task));
    }
    return await image;
  }

  async #openImages(): Promise<OpenImages | null> {
    const directory = await this.#options.images();
    return directory === null ? null : { reader: await MemoryImageReader.open(directory), images: new Map() };
  }

  #events(): FaultServerEvents {
    return {
      onState: (state) => {
        this.#faults.clear();
        if (state.restored) this.#isRestored = true;
        this.#missingPages = Math.max(this.#missingPages, pagesOf(state));
        if (this.#isBegun) this.#askFor(state);
      },
      onRestored: () => {
        this.#isRestored = true;
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
    this.#server = server;
    server.ended.then(
      (outcome) => {
        if (outcome === "done") this.#isRestored = this.#isWhole = true;
        else this.#loss ??= new DrayError("INTERNAL", `the fault server has ended: ${outcome}`);
      },
      (thrown: unknown) => {
        const error = toDrayError(thrown);
        if (error.reason === "CANCELLED") return;
        this.#loss ??= error;
        this.#options.onTrouble(error.message);
      },
    );
  }

  #askForAll(): void {
    const state = this.#server?.latest;
    // Null: it has ended, and nothing is missing.
    if (state) this.#askFor(state);
  }

  #askFor({ remaining }: FaultServerState): void {
    for (const [task, ranges] of remaining) {
      for (const some of inPieces(triplesOf(task, ranges))) this.#say({ missing: some });
    }
  }

  #say(word: Word): void {
    this.#stream?.say(word);
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

function lost(cause: DrayError): DrayError {
  return new DrayError("CRIU_RESTORE_FAILED", `the memory that the copy lacks can never come: ${cause.message}`, {
    remedy: "The copy ran without some of its memory in reach, and cannot go on. Start the container anew.",
    cause,
  });
}
