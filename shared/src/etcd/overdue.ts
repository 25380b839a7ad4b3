/** Whose connection takes longer to be made than that of a member which is there. Pure but for the clock. */
export class Overdue<T> {
  readonly #limitMs: number;
  readonly #clock: () => number;
  readonly #sinceMs = new Map<T, number>();

  constructor(limitMs: number, clock: () => number = () => performance.now()) {
    this.#limitMs = limitMs;
    this.#clock = clock;
  }

  /** Takes note of what is seen now; true when the limit has passed without an end, and then counts anew. */
  see(member: T, isConnecting: boolean): boolean {
    const sinceMs = this.#sinceMs.get(member);
    if (!isConnecting) {
      this.#sinceMs.delete(member);
      return false;
    }
    const nowMs = this.#clock();
    if (sinceMs === undefined) this.#sinceMs.set(member, nowMs);
    if (sinceMs === undefined || nowMs - sinceMs < this.#limitMs) return false;
    this.#sinceMs.delete(member);
    return true;
  }
}
