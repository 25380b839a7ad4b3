/** Who asks for something that is under way joins it: it is never begun twice at a time. */
export class OneAtATime<T> {
  #running: Promise<T> | undefined;

  /** The end of the one under way, or of `task`, which begins then. After an end, whichever it was, the next begins. */
  run(task: () => Promise<T>): Promise<T> {
    this.#running ??= task().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }
}
