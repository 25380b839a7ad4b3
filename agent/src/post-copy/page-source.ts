/**
 * Sends the memory of a container in the order in which its copy wants it: pages for which a thread waits first, with
 * those behind them; all others in between, but never so many ahead that a wanted page would have to wait behind them.
 * It is read from the processes, which stand frozen, or is in the images that the copy has: then only told of.
 *
 * Nothing changes where it is taken from, whoever of us ends: another source may begin anew at any time.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { addPages } from "../memory/add-pages.ts";
import { PageBatch } from "../memory/page-batch.ts";
import type { Known } from "../memory/page-judge.ts";
import { BATCH_PAGES } from "../memory/page-window.ts";
import { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import { AheadLimit } from "./ahead-limit.ts";
import { PageSet } from "../memory/page-set.ts";
import { PAGE_BYTES, PARENT } from "../memory-image/page-range.ts";
import type { PageTriple, Word } from "./words.ts";

/** Pages that go with one that is waited for: what lies behind it is likely to be wanted next. */
const PREFETCH_PAGES = 16;

/** Before a wait: what is there goes on its way. */
const FLUSH = Buffer.alloc(0);

/** The private memory of one process, by its pid in the container. */
export interface ServedTask {
  readonly pid: number;
  /** Fills the space with the memory from this address on, and returns how many bytes it could; null: the copy has it. */
  readonly read: ((address: number, space: Buffer) => number) | null;
  /** Which of its pages were written to since the last round; null if that is not known. */
  readonly written: PageSet | null;
}

interface Task {
  readonly served: ServedTask;
  readonly missing: PageSet;
}

interface Place {
  readonly task: number;
  readonly address: number;
}

export class PageSource {
  readonly #batch: PageBatch;
  readonly #tasks = new Map<number, Task>();
  readonly #faults: Place[] = [];
  /** Where the pages that nobody waits for are taken from. */
  #next: Place | undefined;
  #aheadPages = 0;
  readonly #limit = new AheadLimit();
  #complete = false;
  #failure: Error | undefined;
  #wake = Promise.withResolvers<void>();

  /** With `known`, pages that the last round has are told without their content. */
  constructor(tasks: Iterable<ServedTask>, known: Known | null) {
    this.#batch = new PageBatch(new MemoryStreamEncoder(), known);
    for (const served of tasks) this.#tasks.set(served.pid, { served, missing: new PageSet() });
  }

  onWord(word: Word): void {
    if ("missing" in word) this.#each(word.missing, ({ missing }, range) => missing.add(range));
    else if ("dropped" in word) this.#each(word.dropped, ({ missing }, range) => missing.delete(range));
    else if ("fault" in word) this.#faults.push({ task: word.fault[0], address: word.fault[1] });
    else if ("taken" in word) {
      this.#aheadPages -= word.taken;
      this.#limit.taken(word.taken, performance.now());
    } else this.#complete = true;
    this.#awake();
  }

  /** Ends the chunks with this error. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#awake();
  }

  /** The memory stream; each chunk is to be used before the next is asked for, and after an empty one nothing held back. */
  async *chunks(): AsyncGenerator<Buffer> {
    while (!this.#complete) {
      if (this.#failure !== undefined) throw this.#failure;
      this.#wake = Promise.withResolvers();
      const place = this.#wanted() ?? this.#background();
      if (place !== undefined) {
        yield* this.#send(place);
        continue;
      }
      yield FLUSH;
      if (!this.#complete && this.#failure === undefined) await this.#wake.promise;
    }
    yield* this.#batch.end();
  }

  /** The next page that a thread waits for, with those behind it. */
  #wanted(): { place: Place; pages: number } | undefined {
    const fault = this.#faults.shift();
    if (fault === undefined) return undefined;
    const task = this.#demandTask(fault.task);
    // Where it was sent already it may be lost: it is asked for again only then.
    const pages = Math.max(1, task.missing.runFrom(fault.address, PREFETCH_PAGES));
    this.#next = { task: fault.task, address: fault.address + pages * PAGE_BYTES };
    return { place: fault, pages };
  }

  #background(): { place: Place; pages: number } | undefined {
    if (this.#aheadPages >= this.#limit.pages) return undefined;
    const tasks = [...this.#tasks.entries()];
    const now = this.#next?.task;
    const order = [...tasks.filter(([pid]) => pid === now), ...tasks.filter(([pid]) => pid !== now)];
    for (const [pid, { missing }] of order) {
      const address = missing.nextFrom(pid === now ? (this.#next?.address ?? 0) : 0);
      if (address === undefined) continue;
      const pages = missing.runFrom(address, BATCH_PAGES);
      this.#next = { task: pid, address: address + pages * PAGE_BYTES };
      return { place: { task: pid, address }, pages };
    }
    return undefined;
  }

  *#send({ place, pages }: { place: Place; pages: number }): Generator<Buffer> {
    const { served, missing } = this.#demandTask(place.task);
    const { read, written } = served;
    yield* this.#batch.open({ kind: "task", id: served.pid });
    const range = { start: place.address, pages };
    missing.delete(range);
    this.#aheadPages += pages;
    if (read === null) yield* this.#batch.range(place.address, pages, PARENT);
    for (let done = 0; read !== null && done < pages; ) {
      const added = addPages(this.#batch, place.address + done * PAGE_BYTES, pages - done, { read, written });
      done += added.pages;
      if (added.isCut) {
        const address = place.address + done * PAGE_BYTES;
        throw new DrayError("INTERNAL", `page ${address.toString(16)} of process ${place.task} is unreadable`);
      }
      if (this.#batch.isFull) yield* this.#batch.drain();
    }
    yield* this.#batch.settle();
    yield FLUSH;
  }

  #each(triples: readonly PageTriple[], body: (task: Task, range: { start: number; pages: number }) => void): void {
    for (const [pid, start, pages] of triples) body(this.#demandTask(pid), { start, pages });
  }

  #demandTask(pid: number): Task {
    const task = this.#tasks.get(pid);
    if (task === undefined) throw new DrayError("CORRUPT_STREAM", `the container has no process ${pid}`);
    return task;
  }

  #awake(): void {
    this.#wake.resolve();
  }
}
