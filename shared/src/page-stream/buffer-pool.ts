/**
 * Payload buffers that are used again. Fresh memory costs a page fault per 4 KiB, as much as the checksum does; a
 * buffer that comes back costs nothing. Whoever keeps a buffer does no harm: it is then collected like any other.
 */

import { freeMemory } from "./free-memory.ts";

/** Buffers kept for use; the memory of more is freed. */
const KEPT_BUFFERS = 16;

/** Takes buffers back. */
export interface Recycler {
  giveBack(buffer: Buffer): void;
}

export class BufferPool implements Recycler {
  readonly #bufferBytes: number;
  readonly #free: ArrayBufferLike[] = [];
  /** Memory that was handed out by this pool and not given back, so that nothing can be given back twice. */
  readonly #out = new WeakSet<ArrayBufferLike>();

  constructor(bufferBytes: number) {
    this.#bufferBytes = bufferBytes;
  }

  /** A buffer of exactly this length; its content is undefined. */
  take(bytes: number): Buffer {
    // Small ones would waste a large buffer each, for as long as they live.
    if (bytes > this.#bufferBytes || bytes < this.#bufferBytes / 2) return Buffer.allocUnsafeSlow(bytes);
    const memory = this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bufferBytes).buffer;
    this.#out.add(memory);
    return Buffer.from(memory, 0, bytes);
  }

  /** Memory of this pool's size, from wherever, that nobody else uses. */
  adopt(memory: ArrayBuffer): void {
    if (this.#free.length < KEPT_BUFFERS) this.#free.push(memory);
    else memory.transfer(0);
  }

  /** The caller is done with the buffer and everything that shares its memory, wherever it came from. */
  giveBack(buffer: Buffer): void {
    const { buffer: memory } = buffer;
    if (this.#out.delete(memory) && this.#free.length < KEPT_BUFFERS) this.#free.push(memory);
    else if (!this.#free.includes(memory)) freeMemory(buffer);
  }
}
