/**
 * Takes the memory of one dump from CRIU (`--page-server`) and hands it on, piece by piece.
 *
 * ```
 *  listening ── a connection ──► receiving ── close ──► done
 *                                    │
 *                                    └── broken off, not understood, refused by the sink ──► failed
 * ```
 *
 * On a Unix socket, which CRIU is given connected (`ps-socket`). CRIU authenticates no one, and a port would be open to
 * every process of the host; and of a TCP connection CRIU corks its end and never takes that back, so that the last bytes
 * of a dump would wait for the kernel's timer, a fifth of a second, while the container stands still.
 *
 * A CRIU that leaves private memory where it is (`lazy-pages`) offers that on the same socket when it has closed, and the
 * two change roles: it is told at once that nothing is wanted.
 */
import { createServer, type Server, type Socket } from "node:net";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { type ImageId, LAZY, type PageRange, PARENT, PRESENT } from "../memory-image/page-range.ts";
import { withLargeReads } from "./large-reads.ts";
import { encodeCloseAnswer, encodeCommand, encodeOpenAnswer, encodeParentAnswer } from "./protocol.ts";
import { type PageEvent, PageStreamDecoder } from "./stream-decoder.ts";

const LINGER_MS = 1000;
/** Of a Unix socket, unix(7). */
const LONGEST_PATH_BYTES = 107;

/** Where the memory goes. What it throws ends the dump. */
export interface PageSink {
  /** Whether the round before has this image; the one that `open` will answer the same of. */
  parentHas(image: ImageId): boolean | Promise<boolean>;
  /** The image before is complete. True if ranges of the new one may be in the parent. */
  open(image: ImageId): boolean | Promise<boolean>;
  /** Ranges of an image ascend. If one is PRESENT, its content follows. */
  entry(range: PageRange): void;
  /** A piece of content, to be kept as it is or used up by the next `flush`, `open` or `close`. */
  data(bytes: Buffer): void;
  /** Uses up what has come. CRIU is held back as long as a promise is pending. */
  flush(): void | Promise<void>;
  /** Everything has come. CRIU is told that all is safe when this is done, whether its dump went well or not. */
  close(): void | Promise<void>;
}

export interface PageServerOptions {
  /** Of the socket, in a directory that is root's alone. Nothing is there yet, or any more when CRIU has come. */
  readonly path: string;
  readonly sink: PageSink;
  /**
   * CRIU offers what it has left when it has closed, however long that takes it, and fails if nobody hears its answer:
   * until it has ended its side the connection stays, as long as the signal lets it.
   */
  readonly offersRest?: boolean;
  /** Until CRIU has closed, from now on. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface PageTotals {
  readonly images: number;
  readonly ranges: number;
  /** Pages of 4096 bytes. */
  readonly presentPages: number;
  readonly lazyPages: number;
  readonly parentPages: number;
  readonly contentBytes: number;
  /** From the connection to the last answer. */
  readonly durationMs: number;
  /** Of that, how long the sink was waited for. */
  readonly sinkMs: number;
}

export interface PageServer {
  /**
   * Settles when CRIU has closed and was answered, or nothing can come any more; the sink is not in use then. Throws
   * CORRUPT_STREAM, TIMEOUT, CANCELLED, and what the sink has thrown.
   */
  readonly done: Promise<PageTotals>;
}

/** Listens for one dump. */
export async function startPageServer(options: PageServerOptions): Promise<PageServer> {
  const { signal, deadlineMs } = options;
  const ends = [AbortSignal.timeout(Math.ceil(deadlineMs)), ...(signal === undefined ? [] : [signal])];
  const reception = new Reception(options, AbortSignal.any(ends));
  await reception.listen();
  return { done: reception.done };
}

class Reception {
  readonly #options: PageServerOptions;
  readonly #signal: AbortSignal;
  readonly #server: Server;
  readonly #outcome = Promise.withResolvers<PageTotals>();
  #client: Client | undefined;

  constructor(options: PageServerOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    // Half open: the last answer must still leave when CRIU has ended its side.
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
    this.#server.on("connection", (socket) => this.#take(socket));
    // It may fail before anybody waits for it.
    this.#outcome.promise.catch(() => undefined);
  }

  get done(): Promise<PageTotals> {
    return this.#outcome.promise;
  }

  async listen(): Promise<void> {
    this.#signal.throwIfAborted();
    const { path } = this.#options;
    if (Buffer.byteLength(path) > LONGEST_PATH_BYTES) {
      throw new DrayError("BAD_CONFIG", `the path of a socket is too long: ${path}`, {
        remedy: "Choose shorter directories in the agent's configuration.",
      });
    }
    const listening = Promise.withResolvers<void>();
    this.#server.once("error", listening.reject);
    this.#server.listen(path, listening.resolve);
    await listening.promise;
    this.#signal.addEventListener("abort", () => this.#abort(), { once: true });
  }

  #abort(): void {
    const error = toDrayError(this.#signal.reason, "CANCELLED");
    if (this.#client === undefined) this.#end(error);
    else this.#client.abort(error);
  }

  #take(socket: Socket): void {
    if (this.#client !== undefined || !this.#server.listening) {
      socket.destroy();
      return;
    }
    this.#server.close();
    this.#client = new Client(socket, this.#options);
    this.#client.done.then(
      (totals) => this.#outcome.resolve(totals),
      (error: unknown) => this.#end(error),
    );
  }

  #end(error: unknown): void {
    this.#server.close();
    this.#outcome.reject(toDrayError(error));
  }
}

/** The connection of CRIU. */
class Client {
  readonly #socket: Socket;
  readonly #sink: PageSink;
  readonly #offersRest: boolean;
  readonly #decoder = new PageStreamDecoder();
  readonly #outcome = Promise.withResolvers<PageTotals>();
  readonly #startedAt = performance.now();
  readonly #totals = {
    images: 0,
    ranges: 0,
    presentPages: 0,
    lazyPages: 0,
    parentPages: 0,
    contentBytes: 0,
    sinkMs: 0,
  };
  /** What the sink is doing. */
  #pending: Promise<void> | undefined;
  /** It has the answer to its close: what comes now is its own answer to ours. */
  #answered = false;
  #closed = false;
  #failure: unknown;

  constructor(socket: Socket, { sink, offersRest = false }: PageServerOptions) {
    this.#socket = withLargeReads(socket, (bytes) => this.#take(bytes));
    this.#sink = sink;
    this.#offersRest = offersRest;
    this.#socket.on("end", () => this.#guard(() => this.#decoder.finish()));
    this.#socket.on("error", (cause) => {
      this.fail(new DrayError("CORRUPT_STREAM", `CRIU's page stream: broken off: ${cause.message}`, { cause }));
    });
    this.#socket.resume();
  }

  get done(): Promise<PageTotals> {
    return this.#outcome.promise;
  }

  /** Nothing more is waited for, not even the end of a connection of which everything has come. */
  abort(error: unknown): void {
    if (this.#closed) this.#socket.destroy();
    else this.fail(error);
  }

  /** Nothing more is taken; `done` fails with this once the sink has come to rest. */
  fail(error: unknown): void {
    if (this.#failure !== undefined || this.#closed) return;
    this.#failure = error;
    this.#socket.destroy();
    const reject = () => this.#outcome.reject(error);
    if (this.#pending === undefined) reject();
    else this.#pending.then(reject);
  }

  #guard(action: () => void): void {
    if (this.#failure !== undefined) return;
    try {
      action();
    } catch (error) {
      this.fail(error);
    }
  }

  /** A promise, which does not fail, as long as the bytes are in use. */
  #take(bytes: Buffer): Promise<void> | undefined {
    if (this.#answered && this.#offersRest) return undefined;
    this.#guard(() => {
      const waiting = this.#handOn(this.#decoder.decode(bytes));
      if (waiting === undefined) return;
      const since = performance.now();
      this.#pending = waiting
        .finally(() => {
          this.#totals.sinkMs += performance.now() - since;
          this.#pending = undefined;
        })
        .catch((error: unknown) => this.fail(error));
    });
    return this.#pending;
  }

  /** A promise only where there is something to wait for. */
  #handOn(events: Iterator<PageEvent, void>): Promise<void> | undefined {
    while (this.#failure === undefined) {
      const { done, value: event } = events.next();
      if (done === true) return this.#flush();
      if (event.kind === "close") {
        // Nothing may come behind it.
        events.next();
        return this.#close();
      }
      const waiting = this.#handle(event);
      if (waiting !== undefined) return waiting.then(() => this.#handOn(events));
    }
    return undefined;
  }

  #flush(): Promise<void> | undefined {
    const since = performance.now();
    const waiting = this.#sink.flush();
    this.#totals.sinkMs += performance.now() - since;
    return waiting ?? undefined;
  }

  #handle(event: Exclude<PageEvent, { kind: "close" }>): Promise<void> | undefined {
    switch (event.kind) {
      case "entry":
        this.#count(event);
        this.#sink.entry(event);
        return undefined;
      case "data":
        this.#totals.contentBytes += event.bytes.length;
        this.#sink.data(event.bytes);
        return undefined;
      case "open":
        return this.#open(event.image, event.answerWanted);
      case "parentInquiry":
        return this.#answerInquiry(event.image);
      case "get":
        throw new DrayError("CORRUPT_STREAM", "CRIU's page stream: asks for pages where it should bring them");
    }
  }

  async #open(image: ImageId, answerWanted: boolean): Promise<void> {
    this.#totals.images++;
    const hasParent = await this.#sink.open(image);
    if (!answerWanted) return;
    this.#decoder.answered(hasParent);
    this.#socket.write(encodeOpenAnswer(hasParent));
  }

  async #answerInquiry(image: ImageId): Promise<void> {
    this.#socket.write(encodeParentAnswer(await this.#sink.parentHas(image)));
  }

  async #close(): Promise<void> {
    await this.#sink.close();
    if (this.#failure !== undefined) return;
    const left = Promise.withResolvers<void>();
    this.#answered = true;
    this.#socket.end(this.#lastWords(), () => left.resolve());
    this.#socket.once("close", () => left.resolve());
    await left.promise;
    if (this.#failure !== undefined) return;
    this.#closed = true;
    const { sinkMs, ...totals } = this.#totals;
    this.#outcome.resolve({ ...totals, sinkMs, durationMs: performance.now() - this.#startedAt });
    this.#socket.resume();
    // CRIU ends its side on its own. One that has nothing more to say and leaves its end open is not waited for, only
    // given the time to read.
    if (!this.#offersRest) this.#socket.setTimeout(LINGER_MS, () => this.#socket.destroy());
  }

  #lastWords(): Buffer {
    const answer = encodeCloseAnswer();
    if (!this.#offersRest) return answer;
    // Where nothing has shown which header it is, the longer one: of the shorter one the rest stays unread.
    return Buffer.concat([answer, encodeCommand({ operation: "close" }, this.#decoder.headerBytes ?? 32)]);
  }

  #count({ pages, flags }: PageRange): void {
    this.#totals.ranges++;
    if ((flags & PRESENT) !== 0) this.#totals.presentPages += pages;
    else if ((flags & LAZY) !== 0) this.#totals.lazyPages += pages;
    else if ((flags & PARENT) !== 0) this.#totals.parentPages += pages;
  }
}
