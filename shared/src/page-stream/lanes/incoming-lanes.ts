/**
 * The lanes of a transfer at its receiving end: frames are taken from them in the turn in which the sender has dealt
 * them. What has come too early waits; how much of that there may be, the threads see to.
 */
import { DrayError, toDrayError } from "../../errors/dray-error.ts";
import type { Recycler } from "../buffer-pool.ts";
import { DATA_BYTES, type Frame } from "../frame.ts";
import { freeMemory } from "../free-memory.ts";
import { createTransferToken, sameToken } from "../token.ts";
import type { LaneArrival, LaneFrame } from "./lane-messages.ts";
import { LanePort } from "./lane-port.ts";

/** Threads are told of frames that were taken in steps; far fewer than they let wait. */
const TAKEN_STEP_FRAMES = 4;
/** Memory kept to go back with that. */
const SPARE_LIMIT = 8;

export interface IncomingLanesOptions {
  readonly ports: readonly number[];
  readonly silenceLimitMs: number;
  /** Called for every frame, in order. What it throws goes to `onLost`. */
  readonly onFrame: (frame: Frame) => void;
  /** Something is wrong that the transfer cannot survive. */
  readonly onLost: (error: DrayError) => void;
}

interface Lane {
  readonly port: LanePort;
  readonly early: LaneFrame[];
  untold: number;
}

export class IncomingLanes implements Recycler {
  /** Shown by each lane of this transfer. */
  readonly secret = createTransferToken();
  readonly #options: IncomingLanesOptions;
  readonly #lanes: (Lane | undefined)[];
  readonly #spare = new Set<ArrayBuffer>();
  #turn = 0;
  #isStriping = false;
  #ended = false;

  constructor(options: IncomingLanesOptions) {
    this.#options = options;
    this.#lanes = options.ports.map(() => undefined);
  }

  /** False if it is none of this transfer's lanes, or one that there is already. */
  admit({ hello: { lane, secret }, port }: LaneArrival): boolean {
    if (this.#ended || !sameToken(secret, this.secret)) return false;
    if (lane >= this.#lanes.length || this.#lanes[lane] !== undefined) return false;
    const early: LaneFrame[] = [];
    const admitted: Lane = {
      port: new LanePort(port, {
        onReport: (report) => {
          if (report.kind !== "frame") return;
          this.#isStriping = true;
          early.push(report);
          this.#take();
        },
        onEnd: (error) => this.#onLaneEnd(lane, error),
      }),
      early,
      untold: 0,
    };
    this.#lanes[lane] = admitted;
    admitted.port.post({ kind: "admit", silenceLimitMs: this.#options.silenceLimitMs });
    return true;
  }

  /** Memory of frames; it goes back to the threads. */
  giveBack(buffer: Buffer): void {
    const memory = buffer.buffer;
    if (!(memory instanceof ArrayBuffer) || memory.detached || this.#spare.has(memory)) return;
    if (memory.byteLength === DATA_BYTES && this.#spare.size < SPARE_LIMIT) this.#spare.add(memory);
    else freeMemory(buffer);
  }

  /** Ends all connections at once. */
  end(): void {
    this.#ended = true;
    for (const lane of this.#lanes) lane?.port.end();
  }

  #take(): void {
    for (let lane = this.#lanes[this.#turn]; !this.#ended; lane = this.#lanes[this.#turn]) {
      // A sender does not begin before it has all of them.
      if (lane === undefined) return this.#fail(new DrayError("CORRUPT_STREAM", "page stream: a lane is missing"));
      const next = lane.early.shift();
      if (next === undefined) return;
      this.#turn = (this.#turn + 1) % this.#lanes.length;
      const { type, streamId, crc, memory, bytes } = next;
      try {
        this.#options.onFrame({ type, streamId, crc, payload: Buffer.from(memory, 0, bytes) });
      } catch (thrown) {
        this.#fail(thrown);
        return;
      }
      lane.untold += 1;
      if (lane.untold === TAKEN_STEP_FRAMES) this.#tell(lane);
    }
  }

  #tell(lane: Lane): void {
    const memory = [...this.#spare].slice(0, TAKEN_STEP_FRAMES);
    for (const each of memory) this.#spare.delete(each);
    lane.port.post({ kind: "taken", frames: lane.untold, memory }, memory);
    lane.untold = 0;
  }

  /** A sender that gives lanes up before it has used any goes on without them. */
  #onLaneEnd(lane: number, error: DrayError): void {
    if (this.#isStriping) this.#fail(error);
    else this.#lanes[lane] = undefined;
  }

  #fail(thrown: unknown): void {
    if (!this.#ended) this.#options.onLost(toDrayError(thrown));
  }
}
