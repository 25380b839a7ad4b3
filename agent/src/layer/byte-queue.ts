/** Cuts a stream of chunks into what is asked for. */
export class ByteQueue {
  readonly #source: AsyncIterator<Buffer>;
  readonly #atEarlyEnd: () => Error;
  #chunk: Buffer = Buffer.alloc(0);

  /** @param atEarlyEnd what `exactly` throws if there are fewer bytes */
  constructor(source: AsyncIterable<Buffer>, atEarlyEnd: () => Error) {
    this.#source = source[Symbol.asyncIterator]();
    this.#atEarlyEnd = atEarlyEnd;
  }

  /** Up to `limitBytes` of what is there; undefined at the end. */
  async some(limitBytes: number): Promise<Buffer | undefined> {
    while (this.#chunk.length === 0) {
      const next = await this.#source.next();
      if (next.done === true) return undefined;
      this.#chunk = next.value;
    }
    const taken = this.#chunk.subarray(0, limitBytes);
    this.#chunk = this.#chunk.subarray(taken.length);
    return taken;
  }

  async exactly(bytes: number): Promise<Buffer> {
    if (this.#chunk.length >= bytes) {
      const taken = this.#chunk.subarray(0, bytes);
      this.#chunk = this.#chunk.subarray(bytes);
      return taken;
    }
    const parts: Buffer[] = [];
    for (let missing = bytes; missing > 0; ) {
      const part = await this.some(missing);
      if (part === undefined) throw this.#atEarlyEnd();
      parts.push(part);
      missing -= part.length;
    }
    return Buffer.concat(parts);
  }

  /** All that is left, as it comes; the queue is closed at its end. */
  async *rest(): AsyncGenerator<Buffer, void, void> {
    try {
      if (this.#chunk.length > 0) yield this.#chunk;
      for (let next = await this.#source.next(); next.done !== true; next = await this.#source.next()) yield next.value;
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }
}
