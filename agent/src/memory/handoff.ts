/** Chunks from one who pushes to one who pulls, hand to hand: `put` resolves when the chunk has been used. */

interface Offer {
  readonly chunk: Buffer;
  readonly used: PromiseWithResolvers<void>;
}

export class Handoff implements AsyncIterable<Buffer> {
  #offer: Offer | undefined;
  #wanted = Promise.withResolvers<void>();
  #ended = false;
  #failure: Error | undefined;
  #left = false;

  /** Rejects if the other side has left, or `fail` was called. One at a time. */
  async put(chunk: Buffer): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#left) throw new Error("nobody takes the chunks any more");
    const offer = { chunk, used: Promise.withResolvers<void>() };
    this.#offer = offer;
    this.#wanted.resolve();
    await offer.used.promise;
  }

  /** No more will come. */
  end(): void {
    this.#ended = true;
    this.#wanted.resolve();
  }

  /** Both sides get this. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#offer?.used.reject(this.#failure);
    this.#wanted.resolve();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    let inHand: Offer | undefined;
    try {
      for (;;) {
        await this.#wanted.promise;
        if (this.#failure !== undefined) throw this.#failure;
        inHand = this.#offer;
        this.#offer = undefined;
        this.#wanted = Promise.withResolvers();
        if (inHand !== undefined) {
          yield inHand.chunk;
          inHand.used.resolve();
        } else if (this.#ended) return;
      }
    } finally {
      this.#left = true;
      inHand?.used.resolve();
      this.#offer?.used.reject(new Error("nobody takes the chunks any more"));
    }
  }
}
