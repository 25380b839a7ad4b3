/** Memory of typed arrays, given back at once: the garbage collector does not hurry for what lies outside of its heap. */

/** Nothing is in them any more, nor may they be used. */
export function letGo(...arrays: readonly ArrayBufferView<ArrayBuffer>[]): void {
  for (const { buffer } of arrays) if (!buffer.detached) buffer.transfer(0);
}
