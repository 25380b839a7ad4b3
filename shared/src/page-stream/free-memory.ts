/** Gives the memory of a buffer back at once, instead of when the garbage collector comes by. */

/**
 * The buffer and all that share its memory are empty from here on. Memory outside V8's heap makes it collect: a
 * gigabyte that comes in pieces of 16 KiB costs two dozen full collections, each of which walks the whole heap. Buffers
 * that are only a part of their memory are left alone: others use the rest.
 */
export function freeMemory(buffer: Buffer): void {
  const memory = buffer.buffer;
  if (memory instanceof ArrayBuffer && memory.byteLength === buffer.length) memory.transfer(0);
}
