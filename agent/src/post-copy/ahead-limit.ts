/**
 * How many pages that nobody waits for may be on their way: as many as come to their places in a moment, so that a page
 * that is waited for is not long behind them, and the line does not fall silent either. Pure; told of the time.
 */

/** What a wanted page may have to wait behind others, milliseconds. */
const MOMENT_MS = 20;
const LEAST_PAGES = 256;
const MOST_PAGES = 4096;
/** Weight of what was measured last. */
const WEIGHT = 0.2;
/** Words that come together say nothing of the rate one by one. */
const SPAN_MS = 5;

export class AheadLimit {
  #pagesPerMs = 0;
  #spanBeganMs: number | undefined;
  #spanPages = 0;

  /** Pages that may be under way. */
  get pages(): number {
    return Math.round(Math.min(MOST_PAGES, Math.max(LEAST_PAGES, this.#pagesPerMs * MOMENT_MS)));
  }

  /** So many have come to their places. */
  taken(pages: number, nowMs: number): void {
    if (this.#spanBeganMs === undefined) {
      this.#spanBeganMs = nowMs;
      return;
    }
    this.#spanPages += pages;
    const spanMs = nowMs - this.#spanBeganMs;
    if (spanMs < SPAN_MS) return;
    this.#pagesPerMs += WEIGHT * (this.#spanPages / spanMs - this.#pagesPerMs);
    this.#spanBeganMs = nowMs;
    this.#spanPages = 0;
  }
}
