/**
 * What it costs to send a byte, from what was sent last: time of this thread's processor, and time for which the thread
 * had nothing to do but wait for the link, or for a bandwidth cap. On a link that is faster than the processors nobody
 * waits; on a slower one the wait says how slow it is.
 */
import { performance } from "node:perf_hooks";

export interface SendingCost {
  /** Milliseconds per byte, for the encryption and the call to the kernel. */
  readonly processorMs: number;
  /** Milliseconds per byte. */
  readonly waitMs: number;
}

/** As many bytes of the past count as much as one that is sent now counts at first, and half at the end of them. */
const MEMORY_BYTES = 8 * 1024 * 1024;
/** Less says too little: the kernel takes the first frames on any link. */
const LEAST_BYTES = 1024 * 1024;

export class SendingMeter {
  readonly #idleMs: () => number;
  #isWaiting = false;
  /** The thread's idle time, up to which it is accounted for. */
  #countedIdleMs: number;
  #bytes = 0;
  #processorMs = 0;
  #waitMs = 0;

  /** `idleMs`: how long this thread has had nothing to do, since whenever. */
  constructor(idleMs: () => number = () => performance.eventLoopUtilization().idle) {
    this.#idleMs = idleMs;
    this.#countedIdleMs = idleMs();
  }

  /** To be told whenever it changes: whether there are bytes on their way to the kernel, or held back by a cap. */
  waiting(isWaiting: boolean): void {
    const idleMs = this.#idleMs();
    if (this.#isWaiting) this.#waitMs += idleMs - this.#countedIdleMs;
    this.#countedIdleMs = idleMs;
    this.#isWaiting = isWaiting;
  }

  /** Bytes have waited so long where this thread does not see it. */
  held(waitMs: number): void {
    this.#waitMs += waitMs;
  }

  /** Bytes were handed over, which took the thread so long. */
  sent(bytes: number, processorMs: number): void {
    this.#bytes += bytes;
    this.#processorMs += processorMs;
    if (this.#bytes < 2 * MEMORY_BYTES) return;
    this.#bytes /= 2;
    this.#processorMs /= 2;
    this.#waitMs /= 2;
  }

  /** Undefined as long as too little was sent to tell. */
  get cost(): SendingCost | undefined {
    if (this.#bytes < LEAST_BYTES) return undefined;
    return { processorMs: this.#processorMs / this.#bytes, waitMs: this.#waitMs / this.#bytes };
  }
}
