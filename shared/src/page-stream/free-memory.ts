/** Gives the memory of a buffer back at once, instead of when the garbage collector comes by. */

/**
 * The buffer and all that share its memory are empty from here on, so it is for those who know that nobody else uses
 * it; what lies in the pool that all small buffers of Node's share is left alone.
 *
 * Memory outside V8's heap makes it collect: a gigabyte that comes in pieces of 16 KiB costs two dozen full
 * collections, each of which walks the whole heap.
 */
export function freeMemory(buffer: Buffer): void {
  const memory = buffer.buffer;
  if (!(memory instanceof ArrayBuffer) || memory.detached || memory.byteLength === Buffer.poolSize) return;
  memory.transfer(0);
}
