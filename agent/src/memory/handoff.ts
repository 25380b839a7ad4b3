/**
 * Hands values from whoever has them pushed at it to whoever pulls, one at a time: `put` resolves when its value is used
 * up, that is when the next one is asked for. So one buffer is enough for all of them.
 *
 * ```
 *  put ──► waiting ── taken ──► in use ── next is asked for ──► put resolves
 *            │                    │
 *            └──── fail ──────────┴──── the taker leaves ────► put rejects
 * ```
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

interface Offer<T> {
  readonly value: T;
  readonly used: PromiseWithResolvers<void>;
}

export class Handoff<T> {
  #offer: Offer<T> | undefined;
  #ended = false;
  #failure: unknown;
  /** Tells the taker that there is something to look at. */
  #news = Promise.withResolvers<void>();

  /** One after the other. Rejects when nobody takes any more, with the reason if there was one. */
  async put(value: T): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#ended || this.#offer !== undefined) throw new DrayError("INTERNAL", "a value is put out of turn");
    const offer = { value, used: Promise.withResolvers<void>() };
    this.#offer = offer;
    this.#news.resolve();
    await offer.used.promise;
  }

  /** After the last value: the taker comes to the end. */
  end(): void {
    this.#ended = true;
    this.#news.resolve();
  }

  /** The taker is told so, and whatever is put from now on, or waits, fails alike. Nothing where all was taken. */
  fail(error: unknown): void {
    if (this.#ended && this.#offer === undefined) return;
    this.#failure ??= error;
    this.#offer?.used.reject(this.#failure);
    this.#news.resolve();
  }

  /** The values. Once; each is to be used up before the next is asked for. */
  async *taken(): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        if (this.#failure !== undefined) throw this.#failure;
        const offer = this.#offer;
        if (offer !== undefined) {
          yield offer.value;
          this.#offer = undefined;
          offer.used.resolve();
        } else if (this.#ended) return;
        else {
          await this.#news.promise;
          this.#news = Promise.withResolvers();
        }
      }
    } finally {
      this.fail(new DrayError("CANCELLED", "nobody takes any more"));
    }
  }
}
