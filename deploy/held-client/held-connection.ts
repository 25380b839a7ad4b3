/**
 * A client that counts on one TCP connection and never forgives: the proof that a connection lived through a
 * migration. Each request raises a counter on the server by one, so that a lost, repeated or reordered request or
 * reply shows as a wrong number.
 */
import { type Endpoint, LineConnection, type ReplySplitter, splitLines } from "./line-connection.ts";

export interface Gap {
  /** When the last reply before it came, milliseconds since the Unix epoch. */
  readonly startedAtMs: number;
  readonly durationMs: number;
}

export interface HeldVerdict {
  readonly replies: number;
  readonly longestGap: Gap;
  /** Gaps longer than 50 ms, in order. */
  readonly gaps: readonly Gap[];
}

export interface HeldOptions {
  /** Request that raises the counter; Redis: `INCR key`. */
  readonly request: string;
  /** The number in a reply; undefined if it is none, which is a failure. */
  readonly read: (reply: string) => number | undefined;
  readonly split?: ReplySplitter;
  /** Pause between a reply and the next request. Default 1: the gap is measured to about this. */
  readonly everyMs?: number;
  /** A request unanswered for this long is a failure. Default 60000. */
  readonly replyDeadlineMs?: number;
}

const WORTH_NOTING_MS = 50;

export class HeldConnection {
  readonly #connection: LineConnection;
  readonly #options: HeldOptions;
  readonly #running: Promise<void>;
  readonly #gaps: Gap[] = [];
  readonly #localPort: number;
  #longest: Gap = { startedAtMs: 0, durationMs: 0 };
  #replies = 0;
  #last: number | undefined;
  #stopping = false;
  #failure: Error | undefined;

  private constructor(connection: LineConnection, options: HeldOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#localPort = connection.localPort;
    this.#running = this.#run();
  }

  static async open(endpoint: Endpoint, options: HeldOptions): Promise<HeldConnection> {
    return new HeldConnection(await LineConnection.open(endpoint, options.split ?? splitLines), options);
  }

  /** `INCR key` on a Redis. */
  static redis(endpoint: Endpoint, key = "held", everyMs = 1): Promise<HeldConnection> {
    const read = (reply: string) => (/^:\d+$/.test(reply) ? Number(reply.slice(1)) : undefined);
    return HeldConnection.open(endpoint, { request: `INCR ${key}\r\n`, read, everyMs });
  }

  /** `count` on a memory-prover. */
  static prover(endpoint: Endpoint, everyMs = 1): Promise<HeldConnection> {
    const read = (reply: string) => (/^count \d+$/.test(reply) ? Number(reply.slice(6)) : undefined);
    return HeldConnection.open(endpoint, { request: "count\n", read, everyMs });
  }

  get replies(): number {
    return this.#replies;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  /** The gaps since the last call, and the longest of them. Throws if anything was wrong up to now. */
  verdict(): HeldVerdict {
    if (this.#failure !== undefined) throw this.#failure;
    const verdict = { replies: this.#replies, longestGap: this.#longest, gaps: [...this.#gaps] };
    this.#gaps.length = 0;
    this.#longest = { startedAtMs: 0, durationMs: 0 };
    return verdict;
  }

  /** Waits for more replies: that the server still answers on this connection. */
  async moreReplies(count: number, deadlineMs = 30_000): Promise<void> {
    const goal = this.#replies + count;
    const endsAt = performance.now() + deadlineMs;
    while (this.#replies < goal) {
      if (this.#failure !== undefined) throw this.#failure;
      if (performance.now() > endsAt) throw new Error(`${this.#replies} of ${goal} replies within ${deadlineMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Ends after the reply under way, and gives the verdict. */
  async stop(): Promise<HeldVerdict> {
    this.#stopping = true;
    await this.#running;
    this.#connection.close();
    return this.verdict();
  }

  async #run(): Promise<void> {
    let lastAtMs = Date.now();
    let lastAt = performance.now();
    try {
      while (!this.#stopping) {
        const value = this.#options.read(await this.#ask());
        const now = performance.now();
        if (value === undefined) throw new Error("a reply that is no number");
        this.#judge(value);
        const gap = { startedAtMs: lastAtMs, durationMs: now - lastAt };
        if (this.#replies > 1) this.#note(gap);
        lastAtMs = Date.now();
        lastAt = now;
        await new Promise((resolve) => setTimeout(resolve, this.#options.everyMs ?? 1));
      }
      if (this.#connection.localPort !== this.#localPort) throw new Error("the connection is another one");
    } catch (error) {
      this.#failure = new Error(`held connection failed after ${this.#replies} replies: ${(error as Error).message}`, {
        cause: error,
      });
      this.#connection.close();
    }
  }

  async #ask(): Promise<string> {
    const deadlineMs = this.#options.replyDeadlineMs ?? 60_000;
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error(`no reply for ${deadlineMs} ms`)), deadlineMs);
    try {
      return await Promise.race([this.#connection.ask(this.#options.request), late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #judge(value: number): void {
    if (this.#last !== undefined && value !== this.#last + 1) {
      const what = value <= this.#last ? "repeated or out of order" : "lost";
      throw new Error(`a reply was ${what}: ${value} after ${this.#last}`);
    }
    this.#last = value;
    this.#replies += 1;
  }

  #note(gap: Gap): void {
    if (gap.durationMs > this.#longest.durationMs) this.#longest = gap;
    if (gap.durationMs > WORTH_NOTING_MS) this.#gaps.push(gap);
  }
}
