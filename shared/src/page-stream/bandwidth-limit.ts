/**
 * Token bucket over bytes. Pure: the caller brings the clock.
 *
 * The bucket holds a tenth of a second's worth, but at least one frame. A take that empties it is let through and
 * makes a debt, so that frames larger than the bucket pass too, and the average stays right.
 */
import { PAYLOAD_LIMIT_BYTES } from "./frame.ts";

const BURST_SECONDS = 0.1;

export class BandwidthLimit {
  readonly #bytesPerMs: number;
  readonly #burstBytes: number;
  #levelBytes: number;
  #filledAtMs: number;

  constructor(bytesPerSecond: number, nowMs: number) {
    if (!(bytesPerSecond > 0)) throw new RangeError(`bandwidth limit of ${bytesPerSecond} bytes/s`);
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#burstBytes = Math.max(bytesPerSecond * BURST_SECONDS, PAYLOAD_LIMIT_BYTES);
    this.#levelBytes = 0;
    this.#filledAtMs = nowMs;
  }

  /** Takes the bytes, 0 to ask only, and says how long to wait before sending them, in milliseconds; 0 for at once. */
  take(bytes: number, nowMs: number): number {
    const elapsedMs = Math.max(0, nowMs - this.#filledAtMs);
    this.#filledAtMs = nowMs;
    this.#levelBytes = Math.min(this.#burstBytes, this.#levelBytes + elapsedMs * this.#bytesPerMs) - bytes;
    return this.#levelBytes >= 0 ? 0 : -this.#levelBytes / this.#bytesPerMs;
  }

  /** Gives back bytes that were taken and did not have to be sent. */
  refund(bytes: number): void {
    this.#levelBytes = Math.min(this.#burstBytes, this.#levelBytes + bytes);
  }
}
