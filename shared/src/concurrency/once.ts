/** What is to be done once, whoever asks for it, and however often. A failed attempt may be repeated. */
export class Once<T> {
  #done: Promise<T> | undefined;

  /** The attempt under way, or the one that has worked; else `body` is the next. */
  run(body: () => Promise<T>): Promise<T> {
    this.#done ??= body().catch((thrown: unknown) => {
      this.#done = undefined;
      throw thrown;
    });
    return this.#done;
  }
}
