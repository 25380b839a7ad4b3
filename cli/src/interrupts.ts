/** Ctrl-C: by default it aborts the command; a command may take it over for as long as it likes. */
export class Interrupts {
  readonly #controller = new AbortController();
  #handler: (() => void) | undefined;
  #count = 0;

  /** Aborted by an interrupt that no command has taken over. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Whether there was any interrupt. */
  get happened(): boolean {
    return this.#count > 0;
  }

  /** Takes interrupts over until the returned function is called. */
  take(handler: () => void): () => void {
    this.#handler = handler;
    return () => {
      this.#handler = undefined;
    };
  }

  interrupt(): void {
    this.#count++;
    if (this.#handler) this.#handler();
    else this.abort();
  }

  /** Ends the command where it stands. */
  abort(): void {
    this.#controller.abort();
  }
}
