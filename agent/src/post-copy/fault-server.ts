/**
 * drayage-fault-server, which gives a lazily restored copy its pages while it runs. It holds the copy's userfaultfds and
 * knows what is missing; this process brings the pages, and may be replaced at any time: threads of the copy that need
 * a page wait meanwhile, and the next process attaches to what is there.
 *
 *   start ─► ranges() of every task ─► listen() ─► (CRIU restores) ─► pages() … ─► ended
 *   attach ─► state: what is missing still ─► pages() … ─► ended
 *
 * A connection that is lost is made anew; `onState` then says what is missing still, and everything that was sent and
 * is not in its place is to be sent again.
 */
import { setTimeout as delay } from "node:timers/promises";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { bootClockMs } from "../host/boot-clock.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { ControlConnection } from "./control-connection.ts";
import {
  encodeRanges,
  encodeSignal,
  type FaultProgress,
  MAX_PAGES_PER_FRAME,
  type PageRange,
  PROTOCOL_VERSION,
  type ServerMessage,
} from "./protocol.ts";
import {
  type FaultOutcome,
  type FaultServerPlace,
  type FaultServerStart,
  readOutcome,
  serverRuns,
  startServerUnit,
  stopServerUnit,
} from "./server-unit.ts";

/** As of the beginning of a connection. */
export interface FaultServerState {
  /** All ranges are known, CRIU may come, or has. */
  readonly listening: boolean;
  /** CRIU has handed over all tasks. */
  readonly restored: boolean;
  /** CRIU has gone before that. */
  readonly failed: boolean;
  /** Handed over so far. */
  readonly tasks: readonly number[];
  /** What is missing, by task; tasks to which nothing is are left out. Ascending. */
  readonly remaining: ReadonlyMap<number, readonly PageRange[]>;
}

/** Called one after the other, in the order in which things happened. */
export interface FaultServerEvents {
  /**
   * On every connection, and whenever pages are missing that were sent: after end(), and after a restore during which
   * pages were sent that nobody had asked for. Faults that wait are told again after it.
   */
  onState?(state: FaultServerState): void;
  onTask?(task: number, zombie: boolean): void;
  onRestored?(): void;
  /** A thread waits for this page. Told once, until the next onState. */
  onFault?(task: number, address: number): void;
  /** Nobody needs these any more: unmapped, discarded, the processes have ended. */
  onDropped?(task: number, ranges: readonly PageRange[]): void;
  onProgress?(progress: FaultProgress): void;
  /** The kernel refuses pages, the copy has been frozen. The server goes on trying. */
  onTrouble?(message: string): void;
}

interface Reaching {
  readonly events?: FaultServerEvents;
  /** How long the server may take to answer at first. Default 20 s. */
  readonly deadlineMs?: number;
  /** Ends the waiting at first, not the server. */
  readonly signal?: AbortSignal | undefined;
}

const DEADLINE_MS = 20_000;
const RECONNECT_MS = 20;

export class FaultServer {
  readonly #place: FaultServerPlace;
  readonly #events: FaultServerEvents;
  readonly #ended = Promise.withResolvers<FaultOutcome>();
  #connection: ControlConnection | null = null;
  #closed = false;
  #state: FaultServerState | null = null;
  #arriving: { -readonly [Key in keyof FaultServerState]: FaultServerState[Key] } | null = null;
  #remaining = new Map<number, PageRange[]>();
  #firstState = Promise.withResolvers<void>();
  #listening = Promise.withResolvers<void>();
  #restored = Promise.withResolvers<void>();
  #refusal: DrayError | null = null;

  private constructor(place: FaultServerPlace, events: FaultServerEvents) {
    this.#place = place;
    this.#events = events;
    // Nobody may wait for them.
    for (const { promise } of [this.#firstState, this.#listening, this.#restored, this.#ended]) {
      promise.catch(() => undefined);
    }
  }

  /**
   * Starts a server as the unit `drayage-faults-<migration>`. Throws DrayError COMMAND_FAILED, TIMEOUT, CANCELLED,
   * PROTOCOL_MISMATCH; the server is stopped then.
   */
  static async start(options: FaultServerStart & Reaching): Promise<FaultServer> {
    const { events = {}, deadlineMs = DEADLINE_MS, signal } = options;
    try {
      await startServerUnit(options, { deadlineMs, signal });
      return await FaultServer.#reach(new FaultServer(options, events), { deadlineMs, signal });
    } catch (error) {
      await stopServerUnit(options.migrationId);
      throw error;
    }
  }

  /**
   * Attaches to the server that an earlier process has started. One that has ended meanwhile is also found: its
   * `ended` is settled. Throws DrayError NOT_FOUND if there is none, or it was killed; TIMEOUT, CANCELLED,
   * PROTOCOL_MISMATCH.
   */
  static async attach(options: FaultServerPlace & Reaching): Promise<FaultServer> {
    const { events = {}, deadlineMs = DEADLINE_MS, signal } = options;
    const server = new FaultServer(options, events);
    const outcome = await readOutcome(options);
    const isThere = outcome !== null || (await server.#connect()) || (await mayRun(options.migrationId));
    // It may just have ended.
    const last = isThere ? outcome : await readOutcome(options);
    if (last === "killed") throw killed("NOT_FOUND");
    if (last !== null) server.#end(last);
    else if (!isThere) throw new DrayError("NOT_FOUND", `no fault server of migration ${options.migrationId} runs`);
    return await FaultServer.#reach(server, { deadlineMs, signal });
  }

  /** As `state`; null if there is none yet, or the server had ended before it was attached to. */
  get latest(): FaultServerState | null {
    return this.#state;
  }

  /** Its latest word is not older than a look at a socket. */
  get isReached(): boolean {
    return this.#connection !== null;
  }

  /** What the latest onState was called with. */
  get state(): FaultServerState {
    if (this.#state === null) throw new DrayError("INTERNAL", "a fault server that has ended has no state");
    return this.#state;
  }

  /** Resolves when the server has ended. Rejects with DrayError INTERNAL if it was killed, or CANCELLED by close(). */
  get ended(): Promise<FaultOutcome> {
    return this.#ended.promise;
  }

  /** Resolves when pages may be sent that no fault has asked for. Rejects as `ended` does. */
  get restored(): Promise<void> {
    return this.#restored.promise;
  }

  /**
   * Before listen(): memory that the copy of this task will lack. Ascending and disjoint, over all calls for a task.
   * Every task that CRIU will restore must be named, also those without any such memory. Throws DrayError BAD_REQUEST
   * if the server refuses, PEER_UNAVAILABLE if the connection was lost: all ranges are to be given again then.
   */
  async ranges(task: number, ranges: readonly PageRange[]): Promise<void> {
    for (const frame of encodeRanges("ranges", task, ranges)) {
      if (!(await this.#connection?.sendBulk(frame))) throw this.#refusal ?? lost();
    }
  }

  /** All ranges are known: returns when CRIU finds the server. Throws as ranges() does. */
  async listen(): Promise<void> {
    if (!(await this.#connection?.sendBulk(encodeSignal("listen")))) throw this.#refusal ?? lost();
    await this.#listening.promise;
  }

  /**
   * Sends up to 256 pages from this address of the image on. Resolves when the bytes may be changed again: true if they
   * are on their way, false if the connection was lost, and onState will follow. Waits until there is room and, unless
   * it is urgent, for `restored`. Urgent is the answer to a fault: it passes by all that waits.
   */
  async pages(task: number, start: number, pages: Uint8Array, urgent = false): Promise<boolean> {
    const bytes = pages.byteLength;
    if (bytes === 0 || bytes % PAGE_BYTES !== 0 || bytes > MAX_PAGES_PER_FRAME * PAGE_BYTES) {
      throw new DrayError("INTERNAL", `${bytes} bytes are not 1 to ${MAX_PAGES_PER_FRAME} pages`);
    }
    if (!urgent) await this.restored;
    return (await this.#connection?.sendPages(task, start, pages, urgent)) ?? false;
  }

  /** As pages(), for pages of which every byte is zero; any number of ranges. */
  async zeros(task: number, ranges: readonly PageRange[], urgent = false): Promise<boolean> {
    if (!urgent) await this.restored;
    for (const frame of encodeRanges("zeros", task, ranges)) {
      const sent = urgent ? this.#connection?.send(frame) : this.#connection?.sendBulk(frame);
      if (!(await sent)) return false;
    }
    return true;
  }

  /** Everything was sent; should something be missing all the same, onState follows. False as for pages(). */
  async end(): Promise<boolean> {
    return (await this.#connection?.sendBulk(encodeSignal("end"))) ?? false;
  }

  /** Asks the server to end. It does so only if no process needs it: the copy was never restored, or is dead. */
  async stop(): Promise<void> {
    await stopServerUnit(this.#place.migrationId);
  }

  /** Lets go of the server, which stays. */
  close(): void {
    this.#closed = true;
    this.#connection?.close();
    this.#fail(new DrayError("CANCELLED", "the connection with the fault server was closed"));
  }

  static async #reach(
    server: FaultServer,
    { deadlineMs, signal }: { deadlineMs: number; signal: AbortSignal | undefined },
  ): Promise<FaultServer> {
    void server.#stayConnected();
    const timeout = AbortSignal.timeout(deadlineMs);
    const stop = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
    const stopped = Promise.withResolvers<never>();
    const onAbort = () => {
      stopped.reject(
        signal?.aborted
          ? new DrayError("CANCELLED", "waiting for the fault server was stopped", { cause: signal.reason })
          : new DrayError("TIMEOUT", `the fault server did not answer within ${deadlineMs} ms`),
      );
    };
    stop.addEventListener("abort", onAbort, { once: true });
    try {
      if (stop.aborted) onAbort();
      await Promise.race([server.#firstState.promise, server.ended, stopped.promise]);
      return server;
    } catch (error) {
      server.close();
      throw error;
    } finally {
      stop.removeEventListener("abort", onAbort);
    }
  }

  async #stayConnected(): Promise<void> {
    try {
      for (;;) {
        if (this.#connection === null) await this.#connectUntilEnded();
        const connection = this.#connection as ControlConnection | null;
        if (connection === null) return;
        const error = await connection.closed;
        this.#connection = null;
        if (error !== null) throw error;
        if (this.#refusal !== null) throw this.#refusal;
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  async #connectUntilEnded(): Promise<void> {
    const beganMs = bootClockMs();
    while (!this.#closed && !(await this.#connect())) {
      const outcome = await readOutcome(this.#place);
      if (outcome !== null) return this.#endAs(outcome);
      // The unit is asked about rarely: that takes a program.
      if (bootClockMs() - beganMs > 1000 && !(await mayRun(this.#place.migrationId))) {
        const last = await readOutcome(this.#place);
        if (last !== null) return this.#endAs(last);
        throw new DrayError("INTERNAL", `the fault server of migration ${this.#place.migrationId} has vanished`);
      }
      await delay(RECONNECT_MS);
    }
  }

  async #connect(): Promise<boolean> {
    const connection = await ControlConnection.open(this.#place.controlSocket, (message) => this.#take(message));
    if (this.#closed) connection?.close();
    else if (connection !== null) this.#connection = connection;
    return connection !== null;
  }

  #take(message: ServerMessage): void {
    switch (message.type) {
      case "state": {
        if (message.version !== PROTOCOL_VERSION) {
          throw new DrayError("PROTOCOL_MISMATCH", `the fault server speaks version ${message.version}`);
        }
        const { listening, restored, failed, tasks } = message;
        this.#remaining = new Map();
        this.#arriving = { listening, restored, failed, tasks, remaining: this.#remaining };
        return;
      }
      case "remaining": {
        const known = this.#remaining.get(message.task);
        if (known === undefined) this.#remaining.set(message.task, [...message.ranges]);
        else for (const range of message.ranges) known.push(range);
        return;
      }
      case "stateEnd":
        return this.#takeState();
      case "task":
        return this.#events.onTask?.(message.task, message.zombie);
      case "restored":
        this.#restored.resolve();
        return this.#events.onRestored?.();
      case "failed":
        // The state says so, too; whoever waits for the restore does not wait on.
        this.#restored.reject(restoreFailed());
        return;
      case "fault":
        return this.#events.onFault?.(message.task, message.address);
      case "dropped":
        return this.#events.onDropped?.(message.task, message.ranges);
      case "progress":
        return this.#events.onProgress?.(message.progress);
      case "trouble":
        return this.#events.onTrouble?.(message.message);
      case "refused":
        this.#refusal = new DrayError("BAD_REQUEST", `the fault server refuses: ${message.message}`);
        return;
      case "done":
        return this.#end("done");
    }
  }

  #takeState(): void {
    const state = this.#arriving;
    if (state === null) throw new DrayError("CORRUPT_STREAM", "the fault server ended a state that it had not begun");
    this.#arriving = null;
    this.#state = state;
    if (state.listening) this.#listening.resolve();
    if (state.restored) this.#restored.resolve();
    if (state.failed) this.#restored.reject(restoreFailed());
    this.#events.onState?.(state);
    this.#firstState.resolve();
  }

  #endAs(outcome: FaultOutcome | "killed"): void {
    if (outcome === "killed") throw killed("INTERNAL");
    this.#end(outcome);
  }

  #end(outcome: FaultOutcome): void {
    this.#ended.resolve(outcome);
    if (outcome === "done") this.#restored.resolve();
    else this.#fail(restoreFailed());
    this.#closed = true;
  }

  #fail(error: unknown): void {
    for (const { reject } of [this.#firstState, this.#listening, this.#restored, this.#ended]) reject(error);
  }
}

/** systemd that cannot be asked now says nothing about the server. */
async function mayRun(migrationId: string): Promise<boolean> {
  return await serverRuns(migrationId).catch(() => true);
}

function killed(reason: "INTERNAL" | "NOT_FOUND"): DrayError {
  return new DrayError(reason, "its fault server was killed; the copy stands still, without all of its memory");
}

function lost(): DrayError {
  return new DrayError("PEER_UNAVAILABLE", "the connection with the fault server was lost");
}

function restoreFailed(): DrayError {
  return new DrayError("CRIU_RESTORE_FAILED", "CRIU ended before the copy was restored");
}
